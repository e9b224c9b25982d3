//! The log: set up once at the start, its filter changed while the node runs.
//!
//! It belongs to the process, so there is one. How much is written is said in either of two ways: by one of Redis'
//! [levels](Level) (`loglevel`, which CONFIG SET changes), or by a filter that tells modules apart (`--log`, and
//! `PUT /log?filter=` on the admin port). Whichever came last is in force.

use std::{
    io::{IsTerminal, stdout},
    sync::OnceLock,
};

use tracing_subscriber::{
    EnvFilter, Registry, filter, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// The filter of the process' log, once there is one.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: an object a line.
    Json,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// How much is logged, as Redis names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Each connection, and what libraries have to say.
    Debug,
    /// Each connection.
    Verbose,
    /// What changes.
    Notice,
    /// What is wrong.
    Warning,
}

impl Level {
    /// All of them, in the order in which Redis lists them when it complains.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Verbose, Self::Notice, Self::Warning];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Verbose => "verbose",
            Self::Notice => "notice",
            Self::Warning => "warning",
        }
    }

    /// The filter that it stands for.
    pub fn filter(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Verbose => "info,openraft=error,ringfort=debug,ringfort_cluster=debug",
            Self::Notice => "info,openraft=error",
            Self::Warning => "warn,openraft=error",
        }
    }
}

/// Why the log is not as it was wanted.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error(
        "'{filter}' is no log filter: {source}; write info, or per module as in info,ringfort::net=debug"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: filter::ParseError,
    },
    /// The process has not set its log up, or somebody else has.
    #[error("this process has no log whose filter could be changed")]
    None,
}

/// Sets the log up, for the whole process and once. It has colours on a terminal only.
pub fn init(filter: &str, format: Format) -> Result<(), LogError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_target(false);
    let layer = if stdout().is_terminal() { layer } else { layer.with_ansi(false) };
    let done = match format {
        Format::Text => registry.with(layer).try_init(),
        Format::Json => registry.with(layer.json()).try_init(),
    };
    done.map_err(|_| LogError::None)?;
    FILTER.set(handle).map_err(|_| LogError::None)
}

/// Changes what is logged from now on: `debug`, or per module as in `info,ringfort::net=debug`.
pub fn set(filter: &str) -> Result<(), LogError> {
    let parsed = parse(filter)?;
    FILTER.get().ok_or(LogError::None)?.reload(parsed).map_err(|_| LogError::None)?;
    tracing::info!(filter, "the filter of the log was changed");
    Ok(())
}

/// What the council's library says from now on is not logged: it is told to end, and calls it an error that it does.
pub fn silence_council() {
    let Some(filter) = FILTER.get() else { return };
    let Ok(off) = "openraft=off".parse() else { return };
    // A log that cannot be changed goes on as it was.
    let _ = filter.modify(|filter| *filter = std::mem::take(filter).add_directive(off));
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = set("ringfort=loudly").unwrap_err().to_string();
        assert!(error.starts_with("'ringfort=loudly' is no log filter: "), "{error}");
    }

    #[test]
    fn every_level_stands_for_a_filter() {
        for level in Level::ALL {
            assert!(parse(level.filter()).is_ok(), "{}", level.name());
        }
    }

    #[test]
    fn a_process_without_a_log_says_so() {
        assert!(matches!(set("debug"), Err(LogError::None)));
    }
}
