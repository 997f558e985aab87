//! Flags that several subcommands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::artifact::descriptor::Platform;
use crate::artifact::lifecycle::{Status, UnknownStatus};
use crate::observability::logging::LogFormat;
use crate::pull::PullConfig;
use crate::reference::Repository;
use crate::registry::{HostsConfig, RegistryConfig};
use crate::unpack::Limits;

/// How registries are reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registries")]
pub(super) struct RegistryArgs {
    /// Registry (host[:port]) that may be spoken to without TLS; may be repeated
    #[arg(long, value_name = "HOST", env = "SKILLMOUNT_PLAIN_HTTP", value_delimiter = ',')]
    plain_http: Vec<String>,
    /// PEM file of CA certificates to trust besides the system's; may be repeated
    #[arg(long, value_name = "FILE", env = "SKILLMOUNT_CA_FILE", value_delimiter = ',')]
    ca_file: Vec<PathBuf>,
    /// Directory with a directory for each registry, as in containerd's config_path (hosts.toml);
    /// may be repeated
    #[arg(long, value_name = "DIR", env = "SKILLMOUNT_REGISTRY_HOSTS_DIR", value_delimiter = ',')]
    registry_hosts_dir: Vec<PathBuf>,
    /// File with mirrors and blocked registries (containers-registries.conf); FILE.d is read too
    #[arg(long, value_name = "FILE", env = "SKILLMOUNT_REGISTRIES_CONF")]
    registries_conf: Option<PathBuf>,
    /// Mirror (host[:port]) that is shown the logins for the registry it mirrors; may be repeated
    #[arg(long, value_name = "HOST", env = "SKILLMOUNT_MIRROR_CREDENTIALS", value_delimiter = ',',
          value_parser = host)]
    mirror_credentials: Vec<String>,
    /// Seconds to wait for a connection
    #[arg(long, value_name = "SECONDS", default_value_t = 10, env = "SKILLMOUNT_CONNECT_TIMEOUT",
          value_parser = clap::value_parser!(u64).range(1..=600))]
    connect_timeout: u64,
    /// Seconds to wait for the next bytes of an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, env = "SKILLMOUNT_READ_TIMEOUT",
          value_parser = clap::value_parser!(u64).range(1..=600))]
    read_timeout: u64,
    /// Bytes a second of a blob that are too few, if no more come for --low-speed-time; 0 for none
    #[arg(long, value_name = "BYTES", default_value_t = 1024, env = "SKILLMOUNT_LOW_SPEED_LIMIT")]
    low_speed_limit: u64,
    /// Seconds for which that is borne
    #[arg(long, value_name = "SECONDS", default_value_t = 30, env = "SKILLMOUNT_LOW_SPEED_TIME",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    low_speed_time: u64,
    /// Bytes of the largest manifest that is read
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, env = "SKILLMOUNT_MAX_MANIFEST_BYTES")]
    max_manifest_bytes: u64,
}

impl RegistryArgs {
    pub(super) fn config(&self) -> RegistryConfig {
        RegistryConfig {
            plain_http: self.plain_http.clone(),
            ca_files: self.ca_file.clone(),
            hosts: HostsConfig {
                directories: self.registry_hosts_dir.clone(),
                registries_conf: self.registries_conf.clone(),
            },
            mirror_credentials: self.mirror_credentials.clone(),
            connect_timeout: Duration::from_secs(self.connect_timeout),
            read_timeout: Duration::from_secs(self.read_timeout),
            low_speed_limit: self.low_speed_limit,
            low_speed_time: Duration::from_secs(self.low_speed_time),
            manifest_bytes: self.max_manifest_bytes,
            ..RegistryConfig::default()
        }
    }
}

/// A `host[:port]`: what is none would match no mirror, and nobody would be told.
fn host(text: &str) -> Result<String, &'static str> {
    let known = Repository::at(text, "any").is_ok();
    known.then(|| text.to_owned()).ok_or("it is not host or host:port")
}

/// What one artifact may hold, and how much is pulled at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Layers of one artifact
    #[arg(long, default_value_t = Limits::default().layers, env = "SKILLMOUNT_MAX_LAYERS")]
    max_layers: u32,
    /// Files, directories and links of one artifact
    #[arg(long, default_value_t = Limits::default().entries, env = "SKILLMOUNT_MAX_ENTRIES")]
    max_entries: u32,
    /// Bytes of one file
    #[arg(long, default_value_t = Limits::default().file_bytes, env = "SKILLMOUNT_MAX_FILE_BYTES")]
    max_file_bytes: u64,
    /// Bytes of all files of one artifact
    #[arg(long, default_value_t = Limits::default().total_bytes, env = "SKILLMOUNT_MAX_UNPACKED_BYTES")]
    max_unpacked_bytes: u64,
    /// How many times larger a layer may become when it is decompressed
    #[arg(long, default_value_t = Limits::default().ratio, env = "SKILLMOUNT_MAX_RATIO")]
    max_ratio: u32,
    /// Depth of directories
    #[arg(long, default_value_t = Limits::default().depth, env = "SKILLMOUNT_MAX_DEPTH")]
    max_depth: u32,
    /// Bytes of a SKILL.md
    #[arg(long, default_value_t = Limits::default().skill_md_bytes, env = "SKILLMOUNT_MAX_SKILL_MD_BYTES")]
    max_skill_md_bytes: u64,
    /// Largest zstd window, as a power of two
    #[arg(long, default_value_t = Limits::default().zstd_window_log, env = "SKILLMOUNT_MAX_ZSTD_WINDOW_LOG",
          value_parser = clap::value_parser!(u32).range(10..=31))]
    max_zstd_window_log: u32,
    /// Pulls that run at once
    #[arg(long, default_value_t = 8, env = "SKILLMOUNT_MAX_CONCURRENT_PULLS",
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_concurrent_pulls: u32,
    /// Layers that all pulls download at once
    #[arg(long, default_value_t = 16, env = "SKILLMOUNT_MAX_CONCURRENT_DOWNLOADS",
          value_parser = clap::value_parser!(u32).range(1..=256))]
    max_concurrent_downloads: u32,
    /// Bytes of staging that all pulls may reserve for their layers; 0 for what the disk has
    #[arg(long, value_name = "BYTES", default_value_t = 0, env = "SKILLMOUNT_MAX_STAGING_BYTES")]
    max_staging_bytes: u64,
    /// Seconds that one pull may take
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, env = "SKILLMOUNT_PULL_TIMEOUT",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pull_timeout: u64,
    /// States (annotation io.skillimage.status) in which a skill is refused; empty for none
    #[arg(long, value_name = "STATUS", default_value = "archived", value_delimiter = ',',
          env = "SKILLMOUNT_REFUSE_STATUS", help_heading = "Policy", value_parser = status)]
    refuse_status: Vec<Option<Status>>,
}

/// A state, or nothing for an empty text: that is how none is refused.
fn status(text: &str) -> Result<Option<Status>, UnknownStatus> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

impl LimitArgs {
    pub(super) fn config(&self) -> PullConfig {
        PullConfig {
            limits: Limits {
                layers: self.max_layers,
                entries: self.max_entries,
                file_bytes: self.max_file_bytes,
                total_bytes: self.max_unpacked_bytes,
                ratio: self.max_ratio,
                depth: self.max_depth,
                skill_md_bytes: self.max_skill_md_bytes,
                zstd_window_log: self.max_zstd_window_log,
            },
            platform: Platform::node(),
            concurrent: self.max_concurrent_pulls as usize,
            downloads: self.max_concurrent_downloads as usize,
            staging: (self.max_staging_bytes > 0).then_some(self.max_staging_bytes),
            timeout: Duration::from_secs(self.pull_timeout),
            // Who calls a command means it.
            backoff: Duration::ZERO,
            refuse_status: self.refuse_status.iter().flatten().cloned().collect(),
            ..PullConfig::default()
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(super) struct LogArgs {
    /// Level (error, warn, info, debug, trace) or filter (skillmount=debug)
    #[arg(long, env = "SKILLMOUNT_LOG_LEVEL", default_value = "info")]
    pub(super) log_level: String,
    /// Format of the log on standard error
    #[arg(long, env = "SKILLMOUNT_LOG_FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
}
