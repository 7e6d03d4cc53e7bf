use clap::{Args, ValueEnum};

/// What is logged, and how. The log goes to standard error.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogConfig {
    /// Form of the log: for people or for machines
    #[arg(long, env = "OPENFLOW_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// What is logged: a level, or levels by module as in info,openflow_manager=debug
    #[arg(long, env = "OPENFLOW_LOG_FILTER", default_value = "info,sqlx::postgres::notice=warn,mqtt5=error", value_name = "FILTER", value_parser = filter)]
    pub log_filter: String,
}

/// `OPENFLOW_LOG_FORMAT`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people, coloured on a terminal
    Human,
    /// One JSON object a line
    Json,
}

fn filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("not a log filter: {error}"))
}
