//! What the demo prints.

use std::fmt::Display;
use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

/// How long the lines of a wrapped text may get.
const WIDTH: usize = 120;

/// Standard output. A reader that has gone (`| head`) must not keep the demo from clearing up,
/// so nothing here fails.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    colours: bool,
}

impl Screen {
    /// Coloured on a terminal, unless `NO_COLOR` (no-color.org) says otherwise.
    pub(crate) fn new() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colours: std::io::stdout().is_terminal() && !refused && !dumb }
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_string(),
        }
    }

    pub(crate) fn line(self, text: impl Display) {
        drop(writeln!(std::io::stdout(), "{text}"));
    }

    pub(crate) fn title(self, text: &str) {
        self.line(format_args!("\n{}", self.paint("1", text)));
    }

    /// A step that is done, and how long it took.
    pub(crate) fn done(self, start: Instant, text: impl Display) {
        let took = format!("{:>7.1} ms", start.elapsed().as_secs_f64() * 1e3);
        self.line(format_args!("{} {}  {text}", self.paint("32", "✓"), self.paint("2", took)));
    }

    /// What belongs to the step above.
    pub(crate) fn detail(self, text: impl Display) {
        self.line(format_args!("                {}", self.paint("36", text)));
    }

    /// The same for a long text: broken between words, which `kubectl` would not do.
    pub(crate) fn wrapped(self, text: &str) {
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.len() + word.len() > WIDTH {
                self.detail(line.trim_end());
                line.clear();
            }
            line.push_str(word);
            line.push(' ');
        }
        self.detail(line.trim_end());
    }

    /// What went wrong.
    pub(crate) fn failed(self, text: impl Display) {
        self.line(format_args!("{} {text}", self.paint("31", "✗")));
    }

    /// A directory as a pod sees it: modes, sizes, names. `name` stands for the directory.
    pub(crate) fn tree(self, root: &Path, name: &str) -> Result<(), String> {
        self.detail(format_args!("{} {:>7} {name}", mode(root)?, ""));
        self.branches(root, "")
    }

    fn branches(self, directory: &Path, indent: &str) -> Result<(), String> {
        let failed = |error| format!("cannot list {}: {error}", directory.display());
        let entries = fs::read_dir(directory).map_err(failed)?;
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.sort();
        for (index, path) in paths.iter().enumerate() {
            let last = index + 1 == paths.len();
            let (joint, below) =
                if last { ("└── ", "    ") } else { ("├── ", "│   ") };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let status = fs::symlink_metadata(path).map_err(failed)?;
            let size = if status.is_file() { status.len().to_string() } else { String::new() };
            let link = fs::read_link(path).map(|to| format!(" -> {}", to.display()));
            let link = link.unwrap_or_default();
            self.detail(format_args!("{} {size:>7} {indent}{joint}{name}{link}", mode(path)?));
            if status.is_dir() {
                self.branches(path, &format!("{indent}{below}"))?;
            }
        }
        Ok(())
    }
}

/// The ten characters of `ls -l`; skills have nothing but files, directories and links.
fn mode(path: &Path) -> Result<String, String> {
    let status = fs::symlink_metadata(path)
        .map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
    let kind = match status.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        _ => '-',
    };
    let bits = status.permissions().mode();
    let letters = "rwxrwxrwx".chars().enumerate();
    Ok(std::iter::once(kind)
        .chain(letters.map(|(i, letter)| if bits >> (8 - i) & 1 == 1 { letter } else { '-' }))
        .collect())
}
