//! `container.*` and `k8s.*`: where the process runs.

use super::Argument::{IndexOrKey, Name};
use super::Feed::{Container, Kubernetes, Runtime};
use super::Kind::{Bool, Duration, Path, Text, Time};
use super::{Field, field};
use crate::rules::getters::container;

pub(super) const FIELDS: &[Field] = &[
    field(
        "container.id",
        Text,
        Container,
        container::id,
        "First 12 digits of the container's id, or `host` outside of any.",
    )
    .otel("container.id"),
    field("container.full_id", Text, Container, container::full_id, "The container's whole id.")
        .otel("container.id"),
    field(
        "container.name",
        Text,
        Runtime,
        container::name,
        "The container's name, or `host` outside of any.",
    )
    .otel("container.name"),
    field(
        "container.type",
        Text,
        Container,
        container::kind,
        "What runs the container: docker, containerd, cri-o and so on.",
    )
    .otel("container.runtime.name"),
    field(
        "container.privileged",
        Bool,
        Runtime,
        container::is_privileged,
        "Whether the container is privileged.",
    ),
    field(
        "container.start_ts",
        Time,
        Runtime,
        container::start,
        "When the container started: when its cgroup was made, or what the runtime says of one that was there before.",
    ),
    field("container.duration", Duration, Runtime, container::duration, "How long the container has run."),
    // Its image.
    field(
        "container.image",
        Text,
        Runtime,
        container::image,
        "Name of the image, as the container was made from it.",
    ),
    field("container.image.id", Text, Runtime, container::image_id, "Id of the image.")
        .otel("container.image.id"),
    field(
        "container.image.repository",
        Text,
        Runtime,
        container::image_repository,
        "Name of the image without its tag.",
    )
    .otel("container.image.name"),
    field("container.image.tag", Text, Runtime, container::image_tag, "Tag of the image.")
        .otel("container.image.tags"),
    field(
        "container.image.digest",
        Text,
        Runtime,
        container::image_digest,
        "Digest of the image in its registry.",
    )
    .otel("container.image.repo_digests"),
    // Its mounts: the argument is a number, or a path that may be a pattern.
    field("container.mounts", Text, Runtime, container::mounts, "All mounts, with commas between."),
    field(
        "container.mount",
        Text,
        Runtime,
        container::mount,
        "Mount from this path, as `source:dest:mode:rdwr:propagation`.",
    )
    .with(IndexOrKey),
    field(
        "container.mount.source",
        Path,
        Runtime,
        container::mount_source,
        "Path on the host of what is mounted at this path.",
    )
    .with(IndexOrKey),
    field(
        "container.mount.dest",
        Path,
        Runtime,
        container::mount_destination,
        "Path in the container where this path of the host is mounted.",
    )
    .with(IndexOrKey),
    field("container.mount.mode", Text, Runtime, container::mount_mode, "Mode of the mount from this path.")
        .with(IndexOrKey),
    field(
        "container.mount.rdwr",
        Text,
        Runtime,
        container::mount_is_writable,
        "`true` if what is mounted from this path can be written to.",
    )
    .with(IndexOrKey),
    field(
        "container.mount.propagation",
        Text,
        Runtime,
        container::mount_propagation,
        "Whether mounts below the one from this path are shared.",
    )
    .with(IndexOrKey),
    // What it shares with the host, and is known by.
    field(
        "container.host_pid",
        Bool,
        Runtime,
        container::has_host_pid,
        "Whether the container is in the host's PID namespace.",
    ),
    field(
        "container.host_network",
        Bool,
        Runtime,
        container::has_host_network,
        "Whether the container is in the host's network namespace.",
    ),
    field(
        "container.host_ipc",
        Bool,
        Runtime,
        container::has_host_ipc,
        "Whether the container is in the host's IPC namespace.",
    ),
    field("container.ip", Text, Runtime, container::ip, "The container's first IPv4 address."),
    field(
        "container.cni.json",
        Text,
        Runtime,
        container::network_json,
        "What the network plugin said when it set the pod up, as JSON.",
    ),
    field("container.label", Text, Runtime, container::label, "The container's label with this name.")
        .with(Name)
        .otel("container.label.<key>"),
    field(
        "container.labels",
        Text,
        Runtime,
        container::labels,
        "The container's labels, `name:value` with commas between.",
    ),
    // Its pod.
    field("k8s.ns.name", Text, Kubernetes, container::namespace, "Namespace of the pod.")
        .otel("k8s.namespace.name"),
    field("k8s.pod.name", Text, Kubernetes, container::pod_name, "Name of the pod.").otel("k8s.pod.name"),
    field("k8s.pod.uid", Text, Container, container::pod_uid, "UID of the pod.").otel("k8s.pod.uid"),
    field("k8s.pod.id", Text, Container, container::pod_uid, "The same as `k8s.pod.uid`.")
        .otel("k8s.pod.uid"),
    field(
        "k8s.pod.sandbox_id",
        Text,
        Kubernetes,
        container::sandbox_id,
        "First 12 digits of the id of the pod's sandbox.",
    ),
    field(
        "k8s.pod.full_sandbox_id",
        Text,
        Kubernetes,
        container::full_sandbox_id,
        "The whole id of the pod's sandbox.",
    ),
    field("k8s.pod.label", Text, Kubernetes, container::pod_label, "The pod's label with this name.")
        .with(Name)
        .otel("k8s.pod.label.<key>"),
    field(
        "k8s.pod.labels",
        Text,
        Kubernetes,
        container::pod_labels,
        "The pod's labels, `name:value` with commas between.",
    ),
    field("k8s.pod.ip", Text, Kubernetes, container::pod_ip, "The pod's first IPv4 address.")
        .otel("k8s.pod.ip"),
    field("k8s.pod.cni.json", Text, Kubernetes, container::network_json, "The same as `container.cni.json`."),
];
