//! `container.*` and `k8s.*`: where the process runs.

use super::Argument::{IndexOrKey, Name};
use super::Feed::{Container, Kubernetes};
use super::Kind::{Bool, Duration, Path, Text, Time};
use super::{Field, field};

pub(super) const FIELDS: &[Field] = &[
    field(
        "container.id",
        Text,
        Container,
        "First 12 digits of the container's id, or `host` outside of any.",
    )
    .otel("container.id"),
    field("container.full_id", Text, Container, "The container's whole id.").otel("container.id"),
    field("container.name", Text, Container, "The container's name, or `host` outside of any.")
        .otel("container.name"),
    field("container.type", Text, Container, "What runs the container: docker, containerd, cri-o and so on.")
        .otel("container.runtime.name"),
    field("container.privileged", Bool, Container, "Whether the container is privileged."),
    field("container.start_ts", Time, Container, "When the first process of the container started."),
    field("container.duration", Duration, Container, "How long the container has run."),
    // Its image.
    field("container.image", Text, Container, "Name of the image, as the container was made from it."),
    field("container.image.id", Text, Container, "Id of the image.").otel("container.image.id"),
    field("container.image.repository", Text, Container, "Name of the image without its tag.")
        .otel("container.image.name"),
    field("container.image.tag", Text, Container, "Tag of the image.").otel("container.image.tags"),
    field("container.image.digest", Text, Container, "Digest of the image in its registry.")
        .otel("container.image.repo_digests"),
    // Its mounts: the argument is a number, or a path that may be a pattern.
    field("container.mounts", Text, Container, "All mounts, with commas between."),
    field(
        "container.mount",
        Text,
        Container,
        "Mount from this path, as `source:dest:mode:rdwr:propagation`.",
    )
    .with(IndexOrKey),
    field("container.mount.source", Path, Container, "Path on the host of what is mounted at this path.")
        .with(IndexOrKey),
    field(
        "container.mount.dest",
        Path,
        Container,
        "Path in the container where this path of the host is mounted.",
    )
    .with(IndexOrKey),
    field("container.mount.mode", Text, Container, "Mode of the mount from this path.").with(IndexOrKey),
    field(
        "container.mount.rdwr",
        Text,
        Container,
        "`true` if what is mounted from this path can be written to.",
    )
    .with(IndexOrKey),
    field(
        "container.mount.propagation",
        Text,
        Container,
        "Whether mounts below the one from this path are shared.",
    )
    .with(IndexOrKey),
    // What it shares with the host, and is known by.
    field("container.host_pid", Bool, Container, "Whether the container is in the host's PID namespace."),
    field(
        "container.host_network",
        Bool,
        Container,
        "Whether the container is in the host's network namespace.",
    ),
    field("container.host_ipc", Bool, Container, "Whether the container is in the host's IPC namespace."),
    field("container.ip", Text, Container, "The container's first IPv4 address."),
    field(
        "container.cni.json",
        Text,
        Container,
        "What the network plugin said when it set the pod up, as JSON.",
    ),
    field("container.label", Text, Container, "The container's label with this name.")
        .with(Name)
        .otel("container.label.<key>"),
    field("container.labels", Text, Container, "The container's labels, `name:value` with commas between."),
    // Its pod.
    field("k8s.ns.name", Text, Kubernetes, "Namespace of the pod.").otel("k8s.namespace.name"),
    field("k8s.pod.name", Text, Kubernetes, "Name of the pod.").otel("k8s.pod.name"),
    field("k8s.pod.uid", Text, Kubernetes, "UID of the pod.").otel("k8s.pod.uid"),
    field("k8s.pod.id", Text, Kubernetes, "The same as `k8s.pod.uid`.").otel("k8s.pod.uid"),
    field("k8s.pod.sandbox_id", Text, Kubernetes, "First 12 digits of the id of the pod's sandbox."),
    field("k8s.pod.full_sandbox_id", Text, Kubernetes, "The whole id of the pod's sandbox."),
    field("k8s.pod.label", Text, Kubernetes, "The pod's label with this name.")
        .with(Name)
        .otel("k8s.pod.label.<key>"),
    field("k8s.pod.labels", Text, Kubernetes, "The pod's labels, `name:value` with commas between."),
    field("k8s.pod.ip", Text, Kubernetes, "The pod's first IPv4 address.").otel("k8s.pod.ip"),
    field("k8s.pod.cni.json", Text, Kubernetes, "The same as `container.cni.json`."),
];
