use clap::{Args, builder::RangedI64ValueParser, value_parser};

/// What nobody can exceed.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitConfig {
    /// Most memory that one instance may ask for, in MiB
    #[arg(long, env = "OPENFLOW_MAX_MEMORY_MB", default_value_t = 4096, value_name = "MIB", value_parser = memory_mb())]
    pub max_memory_mb: i32,
    /// Most CPU cores that one instance may ask for
    #[arg(long, env = "OPENFLOW_MAX_CPUS", default_value_t = 4.0, value_name = "CORES", value_parser = cpus)]
    pub max_cpus: f64,
    /// Most instances of one project
    #[arg(long, env = "OPENFLOW_MAX_INSTANCES_PER_PROJECT", default_value_t = 100, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=10_000))]
    pub max_instances_per_project: u32,
    /// How many instances are started, stopped or changed at the same time
    #[arg(long, env = "OPENFLOW_RECONCILE_CONCURRENCY", default_value_t = 4, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=64))]
    pub reconcile_concurrency: u32,
}

/// The range that the table `instances` allows.
pub(super) fn memory_mb() -> RangedI64ValueParser<i32> {
    value_parser!(i32).range(64..=65_536)
}

/// The range that the table `instances` allows.
pub(super) fn cpus(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(cpus) if (0.1..=64.0).contains(&cpus) => Ok(cpus),
        _ => Err("give a number of cores from 0.1 to 64".to_owned()),
    }
}
