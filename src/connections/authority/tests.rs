use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend_from_slice(payload);
    frame
}

/// What comes out of a connection that began well, in whatever pieces.
fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut rewriter = Rewriter::default();
    for piece in [PREFACE, bytes].concat().chunks(piece) {
        rewriter.push(piece);
    }
    rewriter.end();
    let out = rewriter.ready.to_vec();
    out.strip_prefix(PREFACE).expect("the preface").to_vec()
}

/// `text` as a string literal that is not Huffman-coded.
fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

#[test]
fn the_value_of_an_authority_is_replaced_wherever_it_is() {
    let path = text("%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Fcsi.skillmount.dev-reg.sock");
    let k = REPLACEMENT.to_vec();
    for (name, block, expected) in [
        // grpc-go: method, scheme, path, authority with incremental indexing, content-type.
        (
            "as grpc-go",
            [&[0x83, 0x86, 0x44][..], &text("/a/b"), &[0x41], &path, &[0x5f], &text("x")].concat(),
            [&[0x83, 0x86, 0x44][..], &text("/a/b"), &[0x41], &k, &[0x5f], &text("x")].concat(),
        ),
        // As tonic: before the path.
        (
            "before the path",
            [&[0x83, 0x86, 0x41][..], &text("localhost"), &[0x84]].concat(),
            [&[0x83, 0x86, 0x41][..], &k, &[0x84]].concat(),
        ),
        ("not indexed", [&[0x01][..], &path].concat(), [&[0x01][..], &k].concat()),
        ("never indexed", [&[0x11][..], &path].concat(), [&[0x11][..], &k].concat()),
        // Huffman: only the length matters.
        ("Huffman", vec![0x41, 0x83, 1, 2, 3], [&[0x41][..], &k].concat()),
        (
            "after a table size and a name that is spelt out",
            [&[0x3f, 0xe1, 0x1f, 0x40][..], &text("x-a"), &text("b"), &[0x41], &path].concat(),
            [&[0x3f, 0xe1, 0x1f, 0x40][..], &text("x-a"), &text("b"), &[0x41], &k].concat(),
        ),
    ] {
        for (flags, before, after) in [
            (END_HEADERS, vec![], vec![]),
            (END_HEADERS | PADDED, vec![3], vec![0; 3]),
            (END_HEADERS | PRIORITY, vec![0, 0, 0, 0, 9], vec![]),
            (END_HEADERS | PADDED | PRIORITY, vec![2, 0, 0, 0, 0, 9], vec![0; 2]),
        ] {
            let around = |block: &[u8]| [&before, block, &after].concat();
            let bytes = frame(HEADERS, flags, &around(&block));
            let expected = frame(HEADERS, flags, &around(&expected));
            for piece in [1, 7, 4096] {
                assert_eq!(through(&bytes, piece), expected, "{name} {flags:#x} {piece}");
            }
        }
    }
}

#[test]
fn all_else_passes_as_it_is() {
    let authority = [&[0x41][..], &text("%2Fa")].concat();
    for bytes in [
        // DATA, SETTINGS and a HEADERS frame that goes on in another.
        frame(0x00, 0, &authority),
        frame(0x04, 0, &[0; 36]),
        frame(HEADERS, 0, &authority),
        // An empty authority, an indexed one, and blocks that make no sense.
        frame(HEADERS, END_HEADERS, &[0x41, 0x00]),
        frame(HEADERS, END_HEADERS, &[0x81]),
        frame(HEADERS, END_HEADERS, &[0x41, 0x05, 1]),
        frame(HEADERS, END_HEADERS, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        frame(HEADERS, END_HEADERS | PADDED, &[9, 0x41]),
        frame(HEADERS, END_HEADERS | PRIORITY, &[0x41]),
        frame(HEADERS, END_HEADERS, &[]),
        // More than any client may send, and half a frame.
        frame(HEADERS, END_HEADERS, &vec![0x41; MAX_FRAME + 1]),
        frame(HEADERS, END_HEADERS, &authority)[..12].to_vec(),
        vec![0, 0],
    ] {
        for piece in [1, 5, 1 << 20] {
            assert_eq!(through(&bytes, piece), bytes, "{piece}");
        }
    }
    for other in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/1.0\r\n", b"P", b""] {
        let mut rewriter = Rewriter::default();
        rewriter.push(other);
        rewriter.end();
        assert_eq!(rewriter.ready, other);
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_made_up(
        frames in proptest::collection::vec((any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..8),
        piece in 1_usize..200,
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, payload)| frame(*kind % 10, *flags, payload)).collect();
        let once = through(&bytes, piece);
        prop_assert!(once.len() <= bytes.len());
        // What comes out has nothing left to replace.
        prop_assert_eq!(through(&once, 4096), once);
    }
}

/// A whole call as grpc-go writes it, byte by byte: tonic's own client cannot write such an
/// authority. Kubelet 1.36 calls the registration socket so, older ones the CSI socket too.
#[tokio::test]
async fn a_call_with_a_path_as_authority_is_answered() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    for authority in [
        "%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Fcsi.skillmount.dev-reg.sock",
        "/var/lib/kubelet/plugins/csi.skillmount.dev/csi.sock",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = std::path::Path::new("/csi/csi.sock");
        let registrar =
            crate::registration::Registrar::new(directory.path(), "csi.example", endpoint);
        let mut status = registrar.status();
        let serving = tokio::spawn(registrar.serve(std::future::pending()));
        status.changed().await.unwrap();
        let socket = directory.path().join("csi.example-reg.sock");
        let mut stream = UnixStream::connect(socket).await.unwrap();
        let path = "/pluginregistration.Registration/GetInfo";
        let headers = [
            // POST and http, by their index.
            &[0x83, 0x86, 0x44][..],
            &text(path),
            &[0x41],
            &text(authority),
            &[0x5f],
            &text("application/grpc"),
            &[0x40],
            &text("te"),
            &text("trailers"),
        ];
        // Twice, on one connection: the second call refers to the entries that the first made.
        let again = [0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe];
        let call = |stream: u8, block: &[u8]| {
            let mut headers = frame(HEADERS, END_HEADERS, block);
            let mut message = frame(0x00, 0x01, &[0; 5]);
            (headers[8], message[8]) = (stream, stream);
            [headers, message].concat()
        };
        let calls = [call(1, &headers.concat()), call(3, &again)].concat();
        stream.write_all(&[PREFACE, &frame_of_settings(), &calls].concat()).await.unwrap();
        let mut answers = 0;
        while answers < 2 {
            let mut header = [0; FRAME_HEADER];
            stream.read_exact(&mut header).await.unwrap();
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            assert_ne!(header[3], 0x03, "{authority}: the call was reset: {payload:?}");
            assert_ne!(header[3], 0x07, "{authority}: the connection was ended: {payload:?}");
            if header[3] == 0x00 {
                let message = String::from_utf8_lossy(&payload).into_owned();
                assert!(message.contains("CSIPlugin") && message.contains("csi.example"));
                answers += 1;
            }
        }
        serving.abort();
    }
}

/// SETTINGS of stream 0 without a setting.
fn frame_of_settings() -> Vec<u8> {
    let mut settings = frame(0x04, 0, &[]);
    settings[8] = 0;
    settings
}
