//! The certificates of public authorities that this system comes with.

use std::collections::HashSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// As OpenSSL and Go, these are asked for before all else.
const FILE: &str = "SSL_CERT_FILE";
/// Directories, with colons between them.
const DIRECTORIES: &str = "SSL_CERT_DIR";

/// Where distributions keep all in one file.
const BUNDLES: [&str; 6] = [
    // Debian, Alpine, the driver's image.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL.
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // SUSE.
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where they keep each in a file of its own, under one or two names.
const EACH: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// The system's certificates: those that the environment names, or else of the first bundle that
/// has any, or else of the directories. A directory holds what its bundle holds, in hundreds of
/// files. What cannot be read is left out.
pub(super) fn system() -> Vec<CertificateDer<'static>> {
    let (file, directories) = (env::var_os(FILE), env::var_os(DIRECTORIES));
    if file.is_some() || directories.is_some() {
        let found = named(file.as_deref(), directories.as_deref());
        if found.is_empty() {
            tracing::warn!(?file, ?directories, "{FILE} and {DIRECTORIES} name no certificate");
        }
        return found;
    }
    for bundle in BUNDLES {
        let mut found = Found::default();
        found.file(Path::new(bundle));
        if !found.certificates.is_empty() {
            return found.certificates;
        }
    }
    let mut found = Found::default();
    EACH.iter().for_each(|directory| found.directory(Path::new(directory)));
    found.certificates
}

fn named(file: Option<&OsStr>, directories: Option<&OsStr>) -> Vec<CertificateDer<'static>> {
    let mut found = Found::default();
    if let Some(file) = file {
        found.file(Path::new(file));
    }
    for directory in directories.map(env::split_paths).into_iter().flatten() {
        found.directory(&directory);
    }
    // A bundle and a directory hold the same.
    found.certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    found.certificates.dedup();
    found.certificates
}

/// What was read so far.
#[derive(Default)]
struct Found {
    certificates: Vec<CertificateDer<'static>>,
    /// Device and inode: in a directory most files have two names.
    files: HashSet<(u64, u64)>,
}

impl Found {
    fn directory(&mut self, path: &Path) {
        let Ok(entries) = fs::read_dir(path) else { return };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths.iter().for_each(|path| self.file(path));
    }

    fn file(&mut self, path: &Path) {
        match self.new_bytes(path) {
            Ok(Some(pem)) => {
                let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
                self.certificates.extend(certificates);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "cannot read certificates");
            }
        }
    }

    /// A regular file that was not read before.
    fn new_bytes(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() || !self.files.insert((metadata.dev(), metadata.ino())) {
            return Ok(None);
        }
        fs::read(path).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> (String, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.cert.der().clone())
    }

    #[test]
    fn what_the_environment_names_is_read_and_each_once() {
        super::super::install_crypto_provider();
        let root = tempfile::tempdir().unwrap();
        let [(a_pem, a), (b_pem, b)] = ["a", "b"].map(certificate);
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let bundle = write("bundle", &format!("text\n{a_pem}{b_pem}"));
        let broken = write("broken", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        write("one/a", &a_pem);
        write("two/b", &b_pem);
        std::os::unix::fs::symlink("a", root.path().join("one/0.0")).unwrap();
        let [one, two] = ["one", "two"].map(|name| root.path().join(name));
        let both = env::join_paths(["".as_ref(), one.as_os_str(), two.as_os_str()]).unwrap();
        let mut sorted = vec![a.clone(), b.clone()];
        sorted.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        for (file, directories, expected) in [
            (Some(bundle.as_path()), None, sorted.clone()),
            (None, Some(one.as_os_str()), vec![a.clone()]),
            (None, Some(&both), sorted.clone()),
            (Some(&bundle), Some(&both), sorted),
            (Some(&broken), Some(one.as_os_str()), vec![a]),
            (Some(Path::new("/nonexistent")), None, vec![]),
        ] {
            assert_eq!(named(file.map(Path::as_os_str), directories), expected, "{file:?}");
        }
    }
}
