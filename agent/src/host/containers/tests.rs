//! What each runtime writes, by the structures of its source (see the table in `mod.rs`), and what is made of it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tarsier_core::event::{ImageFacts, Label, Mount, PodFacts};
use tempfile::TempDir;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SANDBOX: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const IMAGE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A host of which only these files are there.
struct Host {
    root: TempDir,
    config: HostConfig,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
        Self { root, config }
    }

    fn write(&self, path: &str, value: &Value) {
        self.write_text(path, &value.to_string());
    }

    fn write_text(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn find(&self) -> ContainerFacts {
        find(&self.config, ID).unwrap()
    }
}

fn some(text: &str) -> Option<Box<str>> {
    Some(text.into())
}

/// The pod that containers are said to be of.
fn pod() -> PodFacts {
    PodFacts {
        name: some("web-0"),
        namespace: some("shop"),
        uid: some("d00d"),
        sandbox_id: some(SANDBOX),
        ..PodFacts::default()
    }
}

fn labels(pairs: &[(&str, &str)]) -> Box<[Label]> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// A configuration with a bind mount, as runtimes write it. Capabilities from `CAP_CHOWN` on, so many.
fn spec(annotations: &Value, capabilities: usize, hidden: bool) -> Value {
    let capabilities = &oci::CAPABILITIES[..capabilities];
    let hidden = if hidden { json!(["/proc/kcore"]) } else { json!([]) };
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": { "uid": 0, "gid": 0 }, "args": ["sh"], "env": ["TOKEN=secret"], "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities },
        },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"] },
            { "destination": "/data", "type": "bind", "source": "/var/lib/x", "options": ["rbind", "rslave", "ro"] },
            { "destination": "/etc/hosts", "source": "/var/lib/kubelet/hosts", "options": ["rbind", "rw"] },
        ],
        "annotations": annotations,
        "linux": {
            "namespaces": [
                { "type": "pid" },
                { "type": "network", "path": "/proc/77/ns/net" },
                { "type": "mount" },
            ],
            "maskedPaths": hidden,
        },
    })
}

fn spec_mounts() -> Option<Box<[Mount]>> {
    let mount = |source: &str, destination: &str, is_writable, propagation: &str| Mount {
        source: source.into(),
        destination: destination.into(),
        mode: "".into(),
        is_writable,
        propagation: propagation.into(),
    };
    Some(Box::new([
        mount("/var/lib/x", "/data", false, "rslave"),
        mount("/var/lib/kubelet/hosts", "/etc/hosts", true, "private"),
    ]))
}

#[test]
fn containerd_tells_by_annotations() {
    let host = Host::new();
    let annotations = json!({
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": "docker.io/library/nginx:1.27",
        "io.kubernetes.cri.sandbox-id": SANDBOX,
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-uid": "d00d",
    });
    let bundle = format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}");
    host.write(&format!("{bundle}/config.json"), &spec(&annotations, 14, true));
    for (pid, network) in [("77", "net:[1]"), ("1", "net:[2]")] {
        host.write_text(&format!("proc/{pid}/ns/net"), network);
    }
    let facts = host.find();
    let pod = pod();
    let image = ImageFacts {
        reference: some("docker.io/library/nginx:1.27"),
        repository: some("docker.io/library/nginx"),
        tag: some("1.27"),
        ..ImageFacts::default()
    };
    let expected = ContainerFacts {
        name: some("web"),
        started_unix_ns: facts.started_unix_ns,
        is_privileged: Some(false),
        image,
        mounts: spec_mounts(),
        has_host_pid: Some(false),
        has_host_network: Some(false),
        has_host_ipc: Some(true),
        pod: Some(pod),
        ..ContainerFacts::default()
    };
    assert_eq!(facts, expected);
    let age = jiff::Timestamp::now().as_nanosecond() - i128::from(facts.started_unix_ns.unwrap());
    assert!((0..60_000_000_000).contains(&age), "{age}");
    // The network of another one that is the host's.
    let networks = ["77", "1"].map(|pid| host.root.path().join(format!("proc/{pid}/ns/net")));
    fs::remove_file(&networks[0]).unwrap();
    assert_eq!(host.find().has_host_network, None, "nobody can tell");
    fs::hard_link(&networks[1], &networks[0]).unwrap();
    assert_eq!(host.find().has_host_network, Some(true));
}

#[test]
fn a_sandbox_of_containerd_has_its_pods_name() {
    let host = Host::new();
    let annotations = json!({
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.podsandbox.image-name": "registry.k8s.io/pause:3.10",
        "io.kubernetes.cri.sandbox-id": ID,
        "io.kubernetes.cri.sandbox-name": "web-0",
    });
    let bundle = format!("run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json");
    host.write(&bundle, &spec(&annotations, 14, true));
    let facts = host.find();
    assert_eq!((facts.name, facts.image.tag), (some("web-0"), some("3.10")));
}

#[test]
fn privileged_is_what_may_do_everything_and_has_nothing_hidden() {
    let host = Host::new();
    let bundle = format!("run/containerd/io.containerd.runtime.v2.task/default/{ID}/config.json");
    let all = oci::CAPABILITIES.len();
    let privileged = |spec: &Value| {
        host.write(&bundle, spec);
        host.find().is_privileged
    };
    let open = spec(&json!({}), all, false);
    assert_eq!(privileged(&open), Some(true));
    assert_eq!(privileged(&spec(&json!({}), all - 1, false)), Some(false));
    assert_eq!(privileged(&spec(&json!({}), all, true)), Some(false));
    for (key, value) in
        [("seccomp", json!({ "defaultAction": "SCMP_ACT_ERRNO" })), ("readonlyPaths", json!(["/proc/sys"]))]
    {
        let mut spec = open.clone();
        spec["linux"][key] = value;
        assert_eq!(privileged(&spec), Some(false), "{key}");
    }
    // A node that is a container itself, and has not everything.
    host.write_text("proc/1/status", "Name:\tinit\nCapBnd:\t000000000000001f\n");
    assert_eq!(privileged(&spec(&json!({}), 5, false)), Some(true));
    assert_eq!(privileged(&spec(&json!({}), 4, false)), Some(false));
    let mut spec = open;
    spec["process"]["capabilities"] = Value::Null;
    assert_eq!(privileged(&spec), Some(false));
}

#[test]
fn docker_tells_by_its_own_files() {
    let host = Host::new();
    let directory = format!("var/lib/docker/containers/{ID}");
    host.write(
        &format!("{directory}/config.v2.json"),
        &json!({
            "ID": ID, "Name": "/k8s_web", "Image": format!("sha256:{IMAGE}"), "Created": "2026-11-27T04:00:00Z",
            "State": { "Running": true, "Pid": 78, "StartedAt": "2025-01-01T00:00:00.000000012Z" },
            "Config": {
                "Image": "nginx:1.27", "Env": ["TOKEN=secret"],
                "Labels": {
                    "tier": "front", "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop",
                    "io.kubernetes.pod.uid": "d00d", "io.kubernetes.sandbox.id": SANDBOX,
                },
            },
            "MountPoints": {
                "/data": {
                    "Source": "/srv", "Destination": "/data", "RW": true, "Name": "", "Driver": "", "Type": "bind",
                    "Relabel": "z", "Propagation": "rprivate", "Spec": {}, "SkipMountpointCreation": false,
                },
            },
            "NetworkSettings": { "Networks": { "bridge": { "IPAddress": "172.17.0.2" } } },
        }),
    );
    assert!(matches!(find(&host.config, ID), Err(Unknown::Absent)), "half of it");
    host.write(
        &format!("{directory}/hostconfig.json"),
        &json!({ "Privileged": true, "PidMode": "host", "IpcMode": "private", "NetworkMode": "default" }),
    );
    let pod = pod();
    let mount = Mount {
        source: "/srv".into(),
        destination: "/data".into(),
        mode: "z".into(),
        is_writable: true,
        propagation: "rprivate".into(),
    };
    let expected = ContainerFacts {
        name: some("k8s_web"),
        started_unix_ns: Some(1_735_689_600_000_000_012),
        is_privileged: Some(true),
        image: ImageFacts {
            reference: some("nginx:1.27"),
            id: some(IMAGE),
            repository: some("nginx"),
            tag: some("1.27"),
            digest: None,
        },
        mounts: Some(Box::new([mount])),
        labels: labels(&[
            ("io.kubernetes.pod.name", "web-0"),
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.pod.uid", "d00d"),
            ("io.kubernetes.sandbox.id", SANDBOX),
            ("tier", "front"),
        ]),
        has_host_pid: Some(true),
        has_host_network: Some(false),
        has_host_ipc: Some(false),
        ip: some("172.17.0.2"),
        pod: Some(pod),
    };
    assert_eq!(host.find(), expected);
}

#[test]
fn crio_tells_by_annotations_and_a_list() {
    let host = Host::new();
    let storage = "var/lib/containers/storage/overlay-containers";
    let own = json!({
        "io.kubernetes.cri-o.Created": "2025-01-01T00:00:00Z",
        "io.kubernetes.cri-o.ImageName": "quay.io/x/y:v1",
        "io.kubernetes.cri-o.ImageRef": format!("quay.io/x/y@sha256:{SANDBOX}"),
        "io.kubernetes.cri-o.Labels": json!({
            "io.kubernetes.container.name": "web", "io.kubernetes.pod.name": "web-0",
            "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "d00d",
        }).to_string(),
        "io.kubernetes.cri-o.SandboxID": SANDBOX,
    });
    host.write(&format!("{storage}/{ID}/userdata/config.json"), &spec(&own, 14, false));
    let sandbox = json!({
        "io.kubernetes.cri-o.Labels": r#"{"tier":"front"}"#,
        "io.kubernetes.cri-o.IP.0": "10.85.0.7",
        "io.kubernetes.cri-o.CNIResult": r#"{"cniVersion":"1.0.0"}"#,
    });
    host.write(&format!("{storage}/{SANDBOX}/userdata/config.json"), &spec(&sandbox, 14, false));
    let metadata = json!({
        "pod-name": "web-0", "pod-id": SANDBOX, "image-name": "quay.io/x/y:latest", "image-id": IMAGE,
        "name": "k8s_web_web-0_shop_d00d_0", "metadata-name": "web", "created-at": 1_700_000_000,
        "privileged": true,
    });
    host.write(
        &format!("{storage}/containers.json"),
        &json!([
            { "id": SANDBOX, "names": ["k8s_POD"], "image": IMAGE, "layer": "l", "metadata": "{}" },
            {
                "id": ID, "names": ["k8s_web_web-0_shop_d00d_0"], "image": IMAGE, "layer": "l",
                "metadata": metadata.to_string(), "created": "2025-01-01T00:00:00Z", "flags": {},
            },
        ]),
    );
    let facts = host.find();
    assert_eq!((&facts.name, facts.is_privileged), (&some("web"), Some(true)), "as the list says");
    assert_eq!(facts.started_unix_ns, Some(1_735_689_600_000_000_000));
    let image = ImageFacts {
        reference: some("quay.io/x/y:latest"),
        id: some(IMAGE),
        repository: some("quay.io/x/y"),
        tag: some("latest"),
        digest: some(&format!("sha256:{SANDBOX}")),
    };
    assert_eq!((facts.image, facts.mounts, facts.ip), (image, spec_mounts(), some("10.85.0.7")));
    let pod = PodFacts {
        labels: labels(&[("tier", "front")]),
        ip: some("10.85.0.7"),
        network_json: some(r#"{"cniVersion":"1.0.0"}"#),
        ..pod()
    };
    assert_eq!((facts.pod, facts.labels.len()), (Some(pod), 4));
}

#[test]
fn podman_tells_by_its_configuration_and_a_list() {
    let host = Host::new();
    let storage = "var/lib/containers/storage/overlay-containers";
    host.write(&format!("{storage}/{ID}/userdata/config.json"), &spec(&json!({}), 38, false));
    let metadata = json!({
        "image-name": "docker.io/library/alpine:latest", "image-id": IMAGE, "name": "odd_name",
        "created-at": 1_700_000_000,
    });
    host.write(&format!("{storage}/containers.json"), &json!([]));
    host.write(
        &format!("{storage}/volatile-containers.json"),
        &json!([{ "id": ID, "names": ["odd_name"], "image": IMAGE, "metadata": metadata.to_string() }]),
    );
    let facts = host.find();
    assert_eq!((facts.name, facts.is_privileged, facts.pod), (some("odd_name"), Some(true), None));
    assert_eq!(facts.started_unix_ns, Some(1_700_000_000_000_000_000));
    assert_eq!((facts.image.tag, facts.image.id), (some("latest"), some(IMAGE)));
}

#[test]
fn runc_alone_tells_by_its_bundle() {
    let host = Host::new();
    let state = json!({
        "id": ID, "init_process_pid": 78, "init_process_start": 5, "created": "2025-01-01T00:00:00.5Z",
        "config": { "rootfs": "/bundle/rootfs", "labels": ["bundle=/bundle", "a=b"] },
        "rootless": false, "cgroup_paths": {},
    });
    host.write(&format!("run/runc/{ID}/state.json"), &state);
    assert!(matches!(find(&host.config, ID), Err(Unknown::Absent)), "the bundle is elsewhere");
    host.write("bundle/config.json", &spec(&json!({}), 3, false));
    let facts = host.find();
    assert_eq!((facts.name, facts.started_unix_ns), (some(ID), Some(1_735_689_600_500_000_000)));
    assert_eq!((facts.is_privileged, facts.image), (Some(false), ImageFacts::default()));
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    let host = Host::new();
    assert!(matches!(find(&host.config, ID), Err(Unknown::Absent)));
    for id in ["", ".", "..", "a/b"] {
        assert!(matches!(find(&host.config, id), Err(Unknown::Absent)), "{id}");
    }
    let bundle = format!("run/containerd/io.containerd.runtime.v2.task/default/{ID}/config.json");
    host.write_text(&bundle, "{\"annotations\": 5");
    assert!(matches!(find(&host.config, ID), Err(Unknown::Malformed { .. })));
    let path = host.root.path().join(&bundle);
    fs::write(&path, vec![b' '; 5 << 20]).unwrap();
    let unread = find(&host.config, ID);
    assert!(matches!(unread, Err(Unknown::Unreadable { error: Unread::TooLarge(_), .. })), "{unread:?}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(find(&host.config, ID), Err(Unknown::Unreadable { error: Unread::NoFile, .. })));
    let nowhere = HostConfig { root: Path::new("/no/such/root").to_owned(), ..HostConfig::default() };
    assert!(matches!(find(&nowhere, ID), Err(Unknown::Unreadable { .. })));
}
