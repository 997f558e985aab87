//! Rows of what goes by itself.

use std::sync::{Arc, Condvar, Mutex};

use tokio::task::JoinSet;

use super::*;

/// A pull that failed before, a call that waits for a pull, a second one for the same volume, and
/// ones for another volume that run out of time.
pub(super) async fn waits(table: &mut Table, driver: &Driver, registry: &Registry) {
    let setup = Setup { backoff: Duration::from_secs(300), ..Setup::default() };
    let patient = another(driver, "patient", setup).await;
    let none = volume(&patient, registry, "team/skill", "v9");
    refused(patient.publish(&none).await);
    table.add(&patient, "The same pull failed a short while ago", &none).await;
    patient.stop().await;
    let gate = Gate::held();
    let layer = &registry.layers("team/skill", "slow")[0];
    registry.fault(On::blob(layer), Fault::Hold { after: 100, gate: gate.clone() });
    let reference = registry.reference("team/skill", "slow");
    let slow = driver.volume("csi-2", &reference);
    let call = tokio::spawn({
        let (client, slow) = (driver.client(), slow.clone());
        async move { client.publish(&slow).await }
    });
    gate.wait_for_waiting(1).await;
    let late = driver.volume("csi-3", &reference);
    // The driver may not have read yet what the registry has sent.
    let (code, message) = loop {
        let told = refused(driver.publish_within(&late, Duration::from_millis(100)).await);
        if told.1.contains(", 100 B of ") {
            break told;
        }
    };
    table.push("The pull takes longer than kubelet waits", code, &message);
    table.add(driver, "An earlier call for the volume is still at work", &slow).await;
    gate.release();
    call.await.unwrap().unwrap();
    reserved(table, driver, registry).await;
    busy(table, driver, &reference).await;
    stopping(table, driver, registry).await;
    let other = Volume { target: slow.target.with_file_name("other"), ..slow.clone() };
    table.add(driver, "The volume is published at another path", &other).await;
    let (code, message) = refused(driver.publish(&slow.clone().read_only(false)).await);
    table.push("The volume is published with other settings", code, &message);
    driver.unpublish(&slow).await.unwrap();
    assert_clean(&driver.root);
}

/// Another pull has reserved all of the space that there is for pulls.
async fn reserved(table: &mut Table, driver: &Driver, registry: &Registry) {
    let crammed = another(driver, "crammed", Setup { staging: Some(1), ..Setup::default() }).await;
    let volumes = ["other", "huge"].map(|tag| {
        let skill = skills::large(50, 100_000).file(tag, tag, 0o644);
        artifacts::skillimage(registry, "team/skill", tag, &skill);
        crammed.volume(tag, &registry.reference("team/skill", tag))
    });
    let gate = Gate::held();
    let layer = &registry.layers("team/skill", "other")[0];
    registry.fault(On::blob(layer), Fault::Hold { after: 100, gate: gate.clone() });
    let call = tokio::spawn({
        let (client, other) = (crammed.client(), volumes[0].clone());
        async move { client.publish(&other).await }
    });
    gate.wait_for_waiting(1).await;
    // At first it asks what the reference is, and a busy machine answers late.
    let (code, message) = loop {
        let late = crammed.publish_within(&volumes[1], Duration::from_secs(1)).await;
        let told = refused(late);
        if told.0 != Code::Cancelled && !told.1.contains(": resolving") {
            break told;
        }
    };
    table.push("Other pulls have reserved the node's space", code, &message);
    gate.release();
    call.await.unwrap().unwrap();
    crammed.publish(&volumes[1]).await.unwrap();
    for volume in &volumes {
        crammed.unpublish(volume).await.unwrap();
    }
    assert_clean(&crammed.root);
    crammed.stop().await;
}

/// A mounter that is at work until it is let go.
struct Stuck {
    mounter: KernelMounter,
    /// How many it holds, and whether it does.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Mounter for Stuck {
    fn seal(&self, from: &[PathBuf], to: &Path, options: MountOptions) -> Result<(), MountError> {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        drop(self.changed.wait_while(state, |(_, held)| *held).unwrap());
        self.mounter.seal(from, to, options)
    }

    fn bind(&self, from: &Path, target: &Path, options: MountOptions) -> Result<(), MountError> {
        self.mounter.bind(from, target, options)
    }

    fn unmount(&self, target: &Path) -> Result<u32, MountError> {
        self.mounter.unmount(target)
    }

    fn is_mount_point(&self, path: &Path) -> Result<bool, MountError> {
        self.mounter.is_mount_point(path)
    }

    fn mounts(&self) -> Result<Vec<Mount>, MountError> {
        self.mounter.mounts()
    }
}

/// All that may mount at a time do, and take long.
async fn busy(table: &mut Table, driver: &Driver, reference: &str) {
    let (mounter, state, changed) = (KernelMounter::detect(), Mutex::default(), Condvar::new());
    let stuck = Arc::new(Stuck { mounter, state, changed });
    let setup = Setup { mounter: stuck.clone(), ..Setup::default() };
    let busy = another(driver, "busy", setup).await;
    let volume = |number| busy.volume(&format!("csi-{number}"), reference);
    busy.publish(&volume(0)).await.unwrap();
    *stuck.state.lock().unwrap() = (0, true);
    let most = 4 * std::thread::available_parallelism().unwrap().get();
    let mut calls = JoinSet::new();
    for number in 1..=most {
        let (client, volume) = (busy.client(), volume(number));
        calls.spawn(async move { client.publish(&volume).await });
    }
    while stuck.state.lock().unwrap().0 < most {
        tokio::task::yield_now().await;
    }
    let late = volume(most + 1);
    let (code, message) = refused(busy.publish_within(&late, Duration::from_secs(1)).await);
    table.push("The node mounts very many volumes at once", code, &message);
    stuck.state.lock().unwrap().1 = false;
    stuck.changed.notify_all();
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
    for number in 0..=most + 1 {
        busy.unpublish(&volume(number)).await.unwrap();
    }
    assert_clean(&busy.root);
    busy.stop().await;
}

/// A driver that is told to stop, and has waited for as long as it may.
async fn stopping(table: &mut Table, driver: &Driver, registry: &Registry) {
    let gate = Gate::held();
    registry.fault(On::manifest("slow"), Fault::Stall(gate.clone()));
    let replaced = another(driver, "replaced", Setup::default()).await;
    let slow = volume(&replaced, registry, "team/skill", "slow");
    let call = tokio::spawn({
        let (client, slow) = (replaced.client(), slow.clone());
        async move { client.publish(&slow).await }
    });
    gate.wait_for_waiting(1).await;
    replaced.give_up();
    let (code, message) = refused(call.await.unwrap());
    table.push("The driver is replaced while it pulls", code, &message);
    registry.clear_faults();
    gate.release();
    assert_clean(&replaced.root);
    // The pull goes on, and what is here is served.
    while replaced.publish(&slow).await.is_err() {}
    replaced.unpublish(&slow).await.unwrap();
    replaced.stop().await;
}
