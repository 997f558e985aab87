//! What nobody can be faster than: the same bytes with nothing verified, and the kernel's calls.

use std::path::PathBuf;
use std::time::Instant;

use skillmount::mount::{KernelMounter, MountOptions, Mounter};

use crate::bench::{Artifact, Bench};
use crate::contest::{Contestant, Round};
use crate::peers::untar;
use crate::registry::{Access, Login};
use crate::skills::Compressed;
use crate::tools::pipe;

/// `curl | gzip -dc | tar x` of the layer.
pub(crate) fn piped<'a>(
    bench: &'a Bench,
    access: &'a Access,
    artifact: &'a Artifact,
) -> Option<Contestant<'a>> {
    let inflate = match artifact.compressed {
        Compressed::Gzip => "gzip",
        Compressed::Zstd => "zstd",
    };
    let name = format!("floor: curl, {inflate} -dc, tar x");
    bench.tools.have(&["curl", inflate, "tar"]).then(|| {
        Contestant::new(name, move || {
            let directory = bench.directory("floor");
            bench.settle();
            let mut curl = bench.tools.command("curl");
            curl.args(["--silent", "--show-error", "--fail", "--location"]);
            if let Some(login) = &access.login {
                curl.arg("--cacert").arg(&login.ca).args(["--user", &Login::user()]);
            }
            curl.arg(access.url(&artifact.repository, &format!("blobs/{}", artifact.digest)));
            let mut decompress = bench.tools.command(inflate);
            decompress.arg("-dc");
            pipe(&mut [curl, decompress, untar(bench, &directory)])
        })
    })
}

/// The manifest and the layer over a connection that is there: no process, nothing written.
pub(crate) fn kept_connection<'a>(
    bench: &'a Bench,
    access: &'a Access,
    artifact: &'a Artifact,
) -> Contestant<'a> {
    let client = access.client();
    let manifest = access.url(&artifact.repository, "manifests/image");
    let blob = access.url(&artifact.repository, &format!("blobs/{}", artifact.digest));
    Contestant::new("floor: manifest and blob, kept connection", move || {
        let get = async |url: &str| -> Result<usize, String> {
            let answer = access.get(&client, url).send().await.map_err(|e| e.to_string())?;
            let answer = answer.error_for_status().map_err(|e| e.to_string())?;
            Ok(answer.bytes().await.map_err(|e| e.to_string())?.len())
        };
        bench.runtime.block_on(async {
            get(&manifest).await?;
            let start = Instant::now();
            get(&manifest).await?;
            let bytes = get(&blob).await?;
            let took = start.elapsed();
            if bytes == artifact.layer_bytes { Ok(took) } else { Err(format!("{bytes} bytes")) }
        })
    })
}

/// The calls that a publish makes of the kernel: an overlay, a bind mount, an unmount.
pub(crate) fn mounts(bench: &Bench, directory: PathBuf) -> Vec<Contestant<'_>> {
    let mounter = KernelMounter::detect();
    let (empty, target) = (bench.directory("empty"), bench.directory("target"));
    let step = move |which: &str| -> Round {
        let options = MountOptions::default();
        let start = Instant::now();
        let mounted = match which {
            "bind" => mounter.bind(&directory, &target, options),
            _ => mounter.seal(&[directory.clone(), empty.clone()], &target, options),
        };
        mounted.map_err(|error| error.to_string())?;
        let mounted = start.elapsed();
        let start = Instant::now();
        mounter.unmount(&target).map_err(|error| error.to_string())?;
        Ok(if which == "unmount" { start.elapsed() } else { mounted })
    };
    let step = std::rc::Rc::new(step);
    [("overlay", "mounting an overlay"), ("bind", "a bind mount"), ("unmount", "unmounting")]
        .map(|(which, name)| {
            let step = step.clone();
            Contestant::new(format!("floor: the kernel's calls for {name}"), move || step(which))
        })
        .into()
}
