//! The part of a kubeconfig that says where one API server is and how to log in there.
//!
//! What would run a program (`exec`, `auth-provider`) or send a token to somebody unproven
//! (`insecure-skip-tls-verify`) is refused, and so is what would change who asks (`as`).

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SetupError;
use super::server::{ApiServer, Token, address, authorities, read};
use crate::artifact::yaml::{self, Value};

/// The largest file that is read, in bytes.
const MAX_FILE: usize = 1 << 20;

/// Lists and maps within each other; a kubeconfig has four levels, and extensions may have more.
const MAX_DEPTH: usize = 16;

const REFUSED_OF_CLUSTERS: [&str; 3] = ["insecure-skip-tls-verify", "proxy-url", "tls-server-name"];
const REFUSED_OF_USERS: [&str; 7] =
    ["exec", "auth-provider", "username", "password", "as", "as-groups", "as-user-extra"];

/// A file that is being read, for its messages and its relative paths.
struct File<'a>(&'a Path);

fn read_text(path: &Path) -> Result<String, SetupError> {
    let refused = |problem: String| SetupError::Kubeconfig { path: path.into(), problem };
    let bytes = read(path)?;
    if bytes.len() > MAX_FILE {
        return Err(refused(format!("it has more than {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8".into()))
}

/// The API server of the current context.
pub(super) fn load(path: &Path) -> Result<ApiServer, SetupError> {
    let text = read_text(path)?;
    let document = yaml::load(&text, MAX_DEPTH)
        .map_err(|source| SetupError::Yaml { path: path.into(), source })?;
    let (file, root) = (File(path), document.value);
    let name = file.text(&root, "current-context")?;
    let context = file.named(&root, "contexts", &name, "context")?;
    let cluster_name = file.text(context, "cluster")?;
    let cluster = file.named(&root, "clusters", &cluster_name, "cluster")?;
    file.refuse(cluster, &REFUSED_OF_CLUSTERS)?;
    let nobody = Value::Null;
    let user = match context.get("user").and_then(Value::text) {
        None | Some("") => &nobody,
        Some(name) => file.named(&root, "users", name, "user")?,
    };
    file.refuse(user, &REFUSED_OF_USERS)?;
    let key = "certificate-authority";
    let authorities = match file.content(cluster, key)? {
        None => None,
        Some(pem) => Some(authorities(&pem, &format!("{key} of kubeconfig {path:?}"))?),
    };
    let certificate = match file.content(user, "client-certificate")? {
        None => None,
        Some(mut pem) => {
            let key = file.content(user, "client-key")?;
            pem.push(b'\n');
            pem.extend(key.ok_or_else(|| file.refused("a client-certificate without its key"))?);
            Some(pem)
        }
    };
    // As client-go does: the file counts before the text.
    let token = match (file.get(user, "tokenFile"), file.get(user, "token")) {
        (Some(named), _) => Token::File(file.path(named)),
        (None, Some(token)) => Token::Fixed(token.into()),
        (None, None) => Token::None,
    };
    Ok(ApiServer { url: address(&file.text(cluster, "server")?)?, authorities, certificate, token })
}

impl File<'_> {
    fn refused(&self, problem: impl Into<String>) -> SetupError {
        SetupError::Kubeconfig { path: self.0.into(), problem: problem.into() }
    }

    fn get<'v>(&self, map: &'v Value, key: &str) -> Option<&'v str> {
        map.get(key).and_then(Value::text).filter(|text| !text.is_empty())
    }

    fn text(&self, map: &Value, key: &str) -> Result<String, SetupError> {
        let found = self.get(map, key).map(Into::into);
        found.ok_or_else(|| self.refused(format!("it has no {key}")))
    }

    /// The entry of a list that has a name.
    fn named<'v>(
        &self,
        root: &'v Value,
        list: &str,
        name: &str,
        key: &str,
    ) -> Result<&'v Value, SetupError> {
        let entries = match root.get(list) {
            Some(Value::List(entries)) => entries.as_slice(),
            _ => &[],
        };
        let entry = entries.iter().find(|entry| self.get(entry, "name") == Some(name));
        let found = entry.and_then(|entry| entry.get(key));
        found.ok_or_else(|| self.refused(format!("there is no {name:?} among its {list}")))
    }

    fn refuse(&self, map: &Value, keys: &[&str]) -> Result<(), SetupError> {
        let is_set = |key: &&&str| match map.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::Text(text)) => !matches!(text.as_str(), "" | "false"),
            Some(Value::List(_) | Value::Map(_)) => true,
        };
        match keys.iter().find(is_set) {
            Some(key) => Err(self.refused(format!("{key} is not supported"))),
            None => Ok(()),
        }
    }

    /// What is written under `<key>-data` in base64, or in the file that `<key>` names.
    fn content(&self, map: &Value, key: &str) -> Result<Option<Vec<u8>>, SetupError> {
        let inline = format!("{key}-data");
        if let Some(text) = self.get(map, &inline) {
            let decoded = STANDARD.decode(text);
            return decoded.map(Some).map_err(|_| self.refused(format!("{inline} is not base64")));
        }
        self.get(map, key).map(|named| read(&self.path(named))).transpose()
    }

    /// A path as the file means it: relative to where the file is.
    fn path(&self, named: &str) -> PathBuf {
        self.0.parent().unwrap_or(Path::new(".")).join(named)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::observability::chain;

    const SERVER: &str = "    server: https://api.example:6443\n";

    fn config(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\npreferences: {{}}\n\
             contexts:\n- name: there\n  context: {{cluster: d}}\n- name: here\n  context:\n    \
             cluster: c\n    user: u\nclusters:\n- name: c\n  cluster:\n{cluster}users:\n- name: u\n  \
             user:\n{user}"
        )
    }

    fn load(text: &str) -> Result<ApiServer, String> {
        let scratch = tempfile::tempdir().unwrap();
        let made = generate_simple_self_signed(["kubernetes".to_owned()]).unwrap();
        let path = scratch.path().join("config");
        std::fs::write(scratch.path().join("ca.pem"), made.cert.pem()).unwrap();
        std::fs::write(&path, text).unwrap();
        let name = format!("kubeconfig {path:?}: ");
        super::load(&path).map_err(|error| chain(&error).replace(&name, ""))
    }

    #[test]
    fn the_current_context_counts() {
        let server = load(&config(SERVER, "    token: CANARY\n")).unwrap();
        assert_eq!(server.url.as_str(), "https://api.example:6443/");
        assert!(server.authorities.is_none() && server.certificate.is_none());
        assert!(matches!(&server.token, Token::Fixed(token) if token == "CANARY"));
        assert!(!format!("{server:?}").contains("CANARY"));
        let cluster = format!("{SERVER}    certificate-authority: ca.pem\n");
        let user = "    token: CANARY\n    tokenFile: token\n    client-certificate: ca.pem\n    \
                    client-key-data: YQ==\n";
        let server = load(&config(&cluster, user)).unwrap();
        assert_eq!(server.authorities.map(|all| all.len()), Some(1));
        assert!(matches!(&server.token, Token::File(path) if path.ends_with("token")));
        assert!(server.certificate.unwrap().ends_with(b"\na"));
        let nobody = load(&config(SERVER, "    {}\n").replace("    user: u\n", "")).unwrap();
        assert!(matches!(nobody.token, Token::None));
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let and = |line: &str| format!("{SERVER}    {line}\n");
        let user = |line: &str| config(SERVER, &format!("    {line}\n"));
        for (text, problem) in [
            (String::new(), "it has no current-context"),
            ("current-context: a".into(), "there is no \"a\" among its contexts"),
            ("current-context: CANARY: b".into(), "line 1: "),
            (config("    {}\n", "    {}\n"), "it has no server"),
            (
                config(&and("insecure-skip-tls-verify: true"), ""),
                "insecure-skip-tls-verify is not supported",
            ),
            (config(&and("tls-server-name: a"), ""), "tls-server-name is not supported"),
            (
                config(&and("certificate-authority-data: '*'"), ""),
                "certificate-authority-data is not base64",
            ),
            (config(&and("certificate-authority-data: YQ=="), ""), "certificate-authority of "),
            (
                config("    server: http://api.example\n", ""),
                "the API server's address \"http://api.example\"",
            ),
            (user("exec: {command: rm}"), "exec is not supported"),
            (user("as: root"), "as is not supported"),
            (user("username: a"), "username is not supported"),
            (user("client-certificate-data: YQ=="), "a client-certificate without its key"),
            (
                user("token: a").replace("name: u\n", "name: v\n"),
                "there is no \"u\" among its users",
            ),
            (" ".repeat(MAX_FILE + 1), "it has more than 1048576 bytes"),
        ] {
            let error = load(&text).unwrap_err();
            assert!(error.starts_with(problem), "{problem}: {error}");
            assert!(!error.contains("CANARY"), "{error}");
        }
        // What is there and off is no matter.
        load(&config(&and("insecure-skip-tls-verify: false"), "    exec: null\n")).unwrap();
    }
}
