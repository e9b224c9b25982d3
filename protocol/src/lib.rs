//! RESP requests, replies and slots.
