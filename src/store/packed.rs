//! Small collections as one run of bytes.
