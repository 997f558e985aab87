//! What each kind of access to Secrets needs of RBAC, and what events do, to the last verb. The requests of the driver
//! are compared with it, and so are the manifests: neither can drift from the other.

/// A right: verb, API group, resource.
pub type Right = (&'static str, &'static str, &'static str);

/// For each value of `--secret-access`, what whoever asks has to be allowed: the pod's service
/// account for `pod-token`, else the driver's.
pub const RIGHTS: [(&str, &[Right]); 3] = [
    ("pod-token", &[("get", "", "pods"), ("get", "", "secrets")]),
    (
        "impersonate",
        &[
            ("impersonate-on:associated-node:get", "", "pods"),
            ("impersonate-on:associated-node:get", "", "secrets"),
            ("impersonate:associated-node", "authentication.k8s.io", "nodes"),
        ],
    ),
    ("driver", &[("get", "", "pods"), ("get", "", "secrets")]),
];

/// What the driver has to be allowed for `--events`.
pub const EVENTS: &[Right] = &[("create", "", "events"), ("patch", "", "events")];

/// The rights of one kind of access.
pub fn of(access: &str) -> Vec<Right> {
    let found = RIGHTS.iter().find(|(name, _)| *name == access);
    found.unwrap_or_else(|| panic!("no access {access:?}")).1.to_vec()
}
