use super::*;
use crate::artifact::plan::Action;
use crate::reference::Digest;
use crate::unpack::MemorySink;

/// A layer of one file, and its bytes as they come.
fn arrived(text: &'static str) -> (Layer, Chunks) {
    let digest = Digest::sha256(text.as_bytes()).to_string();
    let descriptor = serde_json::json!({
        "mediaType": "application/octet-stream", "digest": digest, "size": text.len(),
    });
    let descriptor = serde_json::from_value(descriptor).unwrap();
    let title = crate::artifact::path::TreePath::parse(b"SKILL.md").unwrap();
    let layer = Layer { descriptor, action: Action::File { title }, diff_id: None };
    let (sender, queue) = mpsc::unbounded_channel();
    sender.send((Bytes::from_static(text.as_bytes()), None)).unwrap();
    sender.send((Bytes::new(), None)).unwrap();
    let (_read, _) = oneshot::channel();
    let chunks =
        Chunks { queue, chunk: Bytes::new(), room: None, ended: false, _place: None, _read };
    (layer, chunks)
}

#[test]
fn a_pull_that_is_given_up_between_layers_has_no_files() {
    let unpacked = |arrived: Vec<(Layer, Chunks)>| {
        let (jobs, layers) = mpsc::unbounded_channel();
        arrived.into_iter().for_each(|layer| jobs.send(layer).unwrap());
        drop(jobs);
        let limits = Limits::default();
        unpack(layers, 2, MemorySink::new(&limits), limits)
    };
    assert!(unpacked(vec![arrived("low"), arrived("low")]).is_ok());
    let given_up = unpacked(vec![arrived("low")]).err().map(|error| error.to_string());
    let expected = "the pull ended unexpectedly: nobody downloads the next layer";
    assert_eq!(given_up.as_deref(), Some(expected));
}
