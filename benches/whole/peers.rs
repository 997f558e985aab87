//! What people would use instead: oras, crane, skopeo with umoci, containerd's `ctr`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::{Artifact, Bench};
use crate::contest::{Contestant, Round};
use crate::registry::Access;
use crate::skills::Compressed;
use crate::tools::pipe;

/// The tools of the command line that are here and can read the artifact.
pub(crate) fn contestants<'a>(
    bench: &'a Bench,
    access: &'a Access,
    artifact: &'a Artifact,
) -> Vec<Contestant<'a>> {
    let mut all = Vec::new();
    if bench.tools.have(&["crane", "tar"]) {
        all.push(Contestant::new("crane export, tar x", || crane(bench, access, artifact)));
    }
    // oras leaves a layer of zstd packed.
    if bench.tools.have(&["oras"]) && artifact.compressed == Compressed::Gzip {
        all.push(Contestant::new("oras pull", || oras(bench, access, artifact)));
    }
    if bench.tools.have(&["skopeo", "umoci"]) {
        all.push(Contestant::new("skopeo copy, umoci unpack", || skopeo(bench, access, artifact)));
    }
    all
}

/// Runs what writes into a directory, and looks whether it did.
fn into_directory(
    bench: &Bench,
    artifact: &Artifact,
    below: &str,
    run: impl FnOnce(&Path) -> Round,
) -> Round {
    let directory = bench.directory("peer");
    bench.settle();
    let outcome = run(&directory);
    let written = directory.join(below).join(artifact.size.name).join("SKILL.md").is_file();
    bench.discard(&directory);
    match (outcome, written) {
        (Ok(_), false) => Err("it wrote no SKILL.md".into()),
        (outcome, _) => outcome,
    }
}

fn crane(bench: &Bench, access: &Access, artifact: &Artifact) -> Round {
    into_directory(bench, artifact, "", |directory| {
        let mut crane = bench.tools.command("crane");
        crane.args(["export", &access.reference(&artifact.repository, "image"), "-"]);
        trust(&mut crane, access);
        pipe(&mut [crane, untar(bench, directory)])
    })
}

fn oras(bench: &Bench, access: &Access, artifact: &Artifact) -> Round {
    into_directory(bench, artifact, "", |directory| {
        let mut oras = bench.tools.command("oras");
        oras.args(["pull", "--no-tty", "--output"]).arg(directory);
        match &access.login {
            Some(login) => {
                oras.arg("--ca-file").arg(&login.ca);
                oras.arg("--registry-config").arg(login.docker.join("config.json"))
            }
            None => oras.arg("--plain-http"),
        };
        oras.arg(access.reference(&artifact.repository, "oras"));
        pipe(&mut [oras])
    })
}

fn skopeo(bench: &Bench, access: &Access, artifact: &Artifact) -> Round {
    into_directory(bench, artifact, "bundle/rootfs", |directory| {
        let mut skopeo = bench.tools.command("skopeo");
        skopeo.args(["copy", "--insecure-policy", "--quiet"]);
        match &access.login {
            Some(login) => {
                let trust = login.docker.with_extension("trust");
                fs::create_dir_all(&trust).map_err(|error| error.to_string())?;
                fs::copy(&login.ca, trust.join("ca.crt")).map_err(|error| error.to_string())?;
                skopeo.arg("--src-cert-dir").arg(trust);
                skopeo.arg("--src-authfile").arg(login.docker.join("config.json"))
            }
            None => skopeo.arg("--src-tls-verify=false"),
        };
        skopeo.arg(format!("docker://{}", access.reference(&artifact.repository, "image")));
        let layout = format!("{}:image", directory.join("layout").display());
        skopeo.arg(format!("oci:{layout}"));
        let mut umoci = bench.tools.command("umoci");
        umoci.args(["unpack", "--image", &layout]).arg(directory.join("bundle"));
        if !rustix::process::geteuid().is_root() {
            umoci.arg("--rootless");
        }
        Ok(pipe(&mut [skopeo])? + pipe(&mut [umoci])?)
    })
}

/// The environment of Go's tools.
fn trust(command: &mut Command, access: &Access) {
    match &access.login {
        Some(login) => {
            command.env("SSL_CERT_FILE", &login.ca).env("DOCKER_CONFIG", &login.docker);
        }
        None => {
            command.arg("--insecure");
        }
    }
}

pub(crate) fn untar(bench: &Bench, directory: &Path) -> Command {
    let mut tar = bench.tools.command("tar");
    tar.arg("x").arg("-C").arg(directory);
    tar
}
