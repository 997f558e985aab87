//! `skillmount pull`: the files that a volume would show, in a directory.

use std::collections::HashMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::source::{SourceArgs, explain};
use super::stop::Signals;
use super::{Failure, print, runtime};
use crate::credentials::Logins;
use crate::pull::{
    HumanBytes, PullConfig, PullFlight, PullPolicy, PullRequest, Pulled, Puller, Source, Step,
    Tenant,
};
use crate::store::{Store, Totals, remove_tree};
use crate::volume::attributes::Attributes;
use crate::volume::compose::{Composition, compose};

#[derive(Debug, Args)]
pub(super) struct PullArgs {
    /// What to pull: references, oci:PATH[:TAG] or oci-archive:PATH[:TAG]; several make one
    /// directory of skills
    #[arg(required = true, value_name = "REF")]
    references: Vec<String>,
    /// Directory to write; must not exist, or be empty
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// What the directory's root is: auto, flat, nested or raw
    #[arg(long, default_value = "auto")]
    layout: String,
    /// Names to take out of a collection, comma-separated
    #[arg(long, default_value = "")]
    skills: String,
    /// Name of the skill's directory, with one skill and layout nested
    #[arg(long, default_value = "")]
    name: String,
    #[command(flatten)]
    source: SourceArgs,
}

impl PullArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let sources = self.sources()?;
        let attributes = self.attributes(&sources)?;
        let output = std::path::absolute(&self.output).map_err(|e| Failure::usage(&e))?;
        free(&output)?;
        let registry = self.source.registry()?;
        let logins = self.source.logins()?;
        let runtime = runtime()?;
        // From here on a signal ends the pull in order, so that nothing is left behind.
        let mut signals = {
            let _entered = runtime.enter();
            Signals::catch().map_err(|e| Failure::failed(&e))?
        };
        let scratch = Scratch::for_output(&output)?;
        let store = Store::open(&scratch.path.join("state")).map_err(|e| Failure::failed(&e))?;
        // The store goes at the end.
        let config = PullConfig { durable: false, ..self.source.limits.config() };
        let puller = Arc::new(Puller::new(registry, Arc::new(store), config));
        let start = Instant::now();
        let pulled = runtime.block_on(async {
            let options = attributes.pull_options();
            let flights = sources.iter().map(|source| {
                puller.pull(PullRequest {
                    source: source.clone(),
                    policy: PullPolicy::Always,
                    options: options.clone(),
                    logins: logins.clone(),
                    tenant: Tenant::default(),
                })
            });
            tokio::select! {
                pulled = watch(&sources, flights.collect(), &logins) => pulled,
                signal = signals.next() => Err(Failure::Failed(format!("stopped by {signal}"))),
            }
        });
        // What still works in the scratch directory ends first.
        drop((runtime, puller));
        let pulled = pulled?;
        let composition = compose(&attributes, &pulled).map_err(|e| Failure::failed(&e))?;
        write(&composition, &scratch, &output).map_err(|error| {
            Failure::Failed(format!("cannot write {}: {error}", output.display()))
        })?;
        report(&pulled, &composition, &output, start.elapsed())
    }

    /// What to pull, each once.
    fn sources(&self) -> Result<Vec<Source>, Failure> {
        let mut sources = Vec::new();
        for text in self.references.iter().flat_map(|text| text.split_whitespace()) {
            let source = text.parse().map_err(|e| Failure::usage(&e))?;
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        Ok(sources)
    }

    /// The flags are the volume's attributes, by the same names and rules. A volume has no
    /// layouts: for each of them stands a reference that nobody pulls.
    fn attributes(&self, sources: &[Source]) -> Result<Attributes, Failure> {
        let mut context = HashMap::new();
        let reference = |(number, source): (usize, &Source)| match source {
            Source::Registry(reference) => reference.to_string(),
            Source::Layout(_) => format!("layout.invalid/{number}"),
        };
        let references: Vec<_> = sources.iter().enumerate().map(reference).collect();
        let references = references.join("\n");
        let validation = self.source.validation.to_string();
        for (key, value) in [
            ("reference", &references),
            ("layout", &self.layout),
            ("skills", &self.skills),
            ("name", &self.name),
            ("validation", &validation),
        ] {
            context.insert(key.to_owned(), value.clone());
        }
        if let Some(path) = &self.source.sub_path {
            context.insert("subPath".to_owned(), path.clone());
        }
        let (attributes, _) = Attributes::parse(&context).map_err(|e| Failure::usage(&e))?;
        Ok(attributes)
    }
}

/// The output must be free before anything is downloaded.
fn free(output: &Path) -> Result<(), Failure> {
    let problem = match fs::read_dir(output) {
        Ok(mut entries) => entries.next().map(|_| "it is not empty".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(error.to_string()),
    };
    match problem {
        Some(problem) => Err(Failure::Usage(format!("--output {}: {problem}", output.display()))),
        None => Ok(()),
    }
}

/// A private directory from which what is finished can be renamed into place: in the output if
/// that exists, for it may be a mount point, else beside it.
struct Scratch {
    parent: PathBuf,
    name: String,
    path: PathBuf,
}

impl Scratch {
    fn for_output(output: &Path) -> Result<Self, Failure> {
        let parent = match output.is_dir() {
            true => output,
            false => output.parent().unwrap_or(output),
        };
        let name = format!(".skillmount-pull-{}", std::process::id());
        let path = parent.join(&name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::Failed(format!("cannot make {}: {error}", path.display())))?;
        Ok(Self { parent: parent.to_owned(), name, path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = fs::File::open(&self.parent)
            .and_then(|parent| remove_tree(parent.as_fd(), self.name.as_ref()));
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the scratch directory");
        }
    }
}

/// Waits for all pulls, with bars for a person and plain lines for a log.
async fn watch(
    sources: &[Source],
    flights: Vec<PullFlight>,
    logins: &Logins,
) -> Result<Vec<Arc<Pulled>>, Failure> {
    let bars = MultiProgress::new();
    let terminal = io::stderr().is_terminal();
    let waits = sources.iter().zip(flights).map(|(source, mut flight)| {
        let bar = terminal.then(|| bars.add(bar(&source.to_string())));
        async move {
            let progress = flight.progress.clone();
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            let outcome = loop {
                tokio::select! {
                    outcome = flight.wait() => break outcome,
                    _ = tick.tick() => {
                        if let (Some(bar), Step::Pulling) = (&bar, progress.step()) {
                            bar.set_length(progress.total());
                            bar.set_position(progress.done());
                        }
                    }
                }
            };
            if let Some(bar) = &bar {
                bar.finish_and_clear();
            }
            outcome.map_err(|error| {
                Failure::Failed(format!("cannot pull {source}: {}", explain(&error, logins)))
            })
        }
    });
    futures_util::future::try_join_all(waits).await
}

fn bar(reference: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template =
        "{prefix} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_prefix(reference.to_owned())
}

/// Moves what the volume would show into one directory, and that into place.
fn write(composition: &Composition, scratch: &Scratch, output: &Path) -> io::Result<()> {
    let view = scratch.path.join("view");
    fs::create_dir(&view)?;
    fs::set_permissions(&view, fs::Permissions::from_mode(0o755))?;
    for directory in &composition.directories {
        rename_entries(directory, &view)?;
    }
    match scratch.parent == output {
        true => rename_entries(&view, output),
        false => fs::rename(&view, output),
    }
}

fn rename_entries(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn report(
    pulled: &[Arc<Pulled>],
    composition: &Composition,
    output: &Path,
    took: Duration,
) -> Result<(), Failure> {
    let mut text = String::new();
    for pulled in pulled {
        text.push_str(&format!("{} is {}\n", pulled.source, pulled.digest));
        for warning in pulled.warnings() {
            text.push_str(&format!("  warning: {warning}\n"));
        }
    }
    let Totals { files, bytes, .. } = composition.totals;
    let what = match composition.skills.as_slice() {
        [] => "the artifact as it is".to_owned(),
        [one] => format!("skill {one}"),
        many => format!("{} skills ({})", many.len(), many.join(", ")),
    };
    text.push_str(&format!(
        "wrote {what} to {}: {files} files, {}, in {:.0?}\n",
        output.display(),
        HumanBytes(bytes),
        took
    ));
    print(&text)
}
