//! The corpus: paths as runtimes, kubelets and systemd spell them.

use proptest::prelude::*;

use super::*;

/// A container id, the same one for the same letter: `{A}` in the corpus.
const A: &str = "3f1c7c1de1c2d6d6c4e0a8f3d1b9d4c6a0e2f4b6c8dae0f2143658a7c9ebfd01";
const B: &str = "b7e23ec29af22b0b4e41da31e868d57226121c84a3f5b6c7d8e9fa0b1c2d3e4f";
/// A pod uid: `{P}` with dashes, `{U}` with underscores.
const P: &str = "0d5e1c2b-7a8f-4c3d-9e0f-1a2b3c4d5e6f";
const Q: &str = "9f8e7d6c-5b4a-4392-8170-6f5e4d3c2b1a";
/// The hash of a static pod: `{S}`.
const S: &str = "4f2c6a3b8d1e9f0a7b6c5d4e3f2a1b0c";
/// A Fargate task: `{T}`.
const T: &str = "1e4f5c5b26ee4ff5b2b9d2c5a5ddee1a";

/// Path; kind (c, u, h) and name; container id; runtime; pod. `-` is none.
const CORPUS: &str = "
# Kubernetes, cgroupfs driver
/kubepods/burstable/pod{P}/{A}                                  c {A12} {A} - {P}
/kubepods/besteffort/pod{P}/{A}                                 c {A12} {A} - {P}
/kubepods/pod{P}/{A}                                            c {A12} {A} - {P}
/kubepods/burstable/pod{S}/{A}                                  c {A12} {A} - {S}
/kubepods/burstable/pod{P}/{A}/init.scope                       c {A12} {A} - {P}
/kubepods/burstable/pod{P}/crio-{A}                             c {A12} {A} cri-o {P}
/kubepods/burstable/pod{P}                                      u pod{P} - - {P}
/kubepods/burstable                                             h host - - -
/kubepods                                                       h host - - -
/k8s.io/{A}                                                     c {A12} {A} containerd -
# Kubernetes, systemd driver
/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U}.slice/cri-containerd-{A}.scope   c {A12} {A} containerd {P}
/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U}.slice/crio-{A}.scope           c {A12} {A} cri-o {P}
/kubepods.slice/kubepods-pod{U}.slice/docker-{A}.scope                                              c {A12} {A} docker {P}
/kubepods.slice/kubepods-pod{U}.slice/cri-containerd-{A}.scope/system.slice/nginx.service           c {A12} {A} containerd {P}
/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{S}.slice/crio-{A}.scope             c {A12} {A} cri-o {S}
/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{S}.slice/crio-{A}.scope/container   c {A12} {A} cri-o {S}
/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U}.slice/crio-conmon-{A}.scope      u crio-conmon - - {P}
/system.slice/crio-conmon-{A}.scope                                                                 u crio-conmon - - -
/kubepods.slice/kubepods-pod{U}.slice                                                               u pod{U} - - {P}
/kubepods.slice/kubepods-besteffort.slice                                                           h host - - -
# containerd that takes a systemd-style name literally
/system.slice/containerd.service/kubepods-burstable-pod{U}.slice:cri-containerd:{A}   c {A12} {A} containerd {P}
/kubepods-pod{U}.slice:cri-containerd:{A}                                             c {A12} {A} containerd {P}
/system.slice:docker:{A}                                                              c {A12} {A} docker -
# kind, minikube, k3s, and runtimes inside containers
/docker/{B}/kubelet/kubepods/burstable/pod{P}/{A}              c {A12} {A} - {P}
/docker/{B}/kubepods/besteffort/pod{P}/{A}                     c {A12} {A} - {P}
/docker/{B}/kubelet/kubepods/burstable/pod{P}                  u pod{P} - - {P}
/docker/{B}/system.slice/kubelet.service                       c {B12} {B} docker -
/system.slice/docker-{B}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{U}.slice/cri-containerd-{A}.scope   c {A12} {A} containerd {P}
/system.slice/k3s.service/kubepods/besteffort/pod{P}/{A}       c {A12} {A} - {P}
/system.slice/k3s.service/kubepods/besteffort/pod{P}           u pod{P} - - {P}
/system.slice/k3s.service                                      u k3s - - -
/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods/pod{P}/{A}   c {A12} {A} - {P}
/kubepods/burstable/pod{P}/{B}/docker/{A}                      c {A12} {A} docker {P}
/kubepods/burstable/pod{P}/{B}/kubepods/pod{Q}/{A}             c {A12} {A} - {P}
/kubepods.slice/kubepods-pod{U}.slice/cri-containerd-{B}.scope/system.slice/docker-{A}.scope   c {A12} {A} docker {P}
/kubepods.slice/kubepods-pod{U}.slice/cri-containerd-{B}.scope/libpod-conmon-{A}.scope         c {B12} {B} containerd {P}
# Docker, Podman, nerdctl, plain containerd
/docker/{A}                                                    c {A12} {A} docker -
/moby/{A}                                                      c {A12} {A} docker -
/system.slice/docker-{A}.scope                                 c {A12} {A} docker -
/system.slice/docker.service                                   u docker - - -
/system.slice/docker.socket                                    u docker.socket - - -
/machine.slice/libpod-{A}.scope                                c {A12} {A} podman -
/machine.slice/libpod-{A}.scope/container                      c {A12} {A} podman -
/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope   c {A12} {A} podman -
/machine.slice/libpod-conmon-{A}.scope                         u libpod-conmon - - -
/libpod_parent/libpod-{A}                                      c {A12} {A} podman -
/libpod_parent/{B}/libpod-{A}                                  c {A12} {A} podman -
/libpod_parent/conmon                                          h host - - -
/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container   c {A12} {A} podman -
/user.slice/user-1000.slice/user@1000.service/app.slice/podman.service/libpod-payload-{A}   c {A12} {A} podman -
/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-{A}.scope            c {A12} {A} containerd -
/default/{A}                                                   c {A12} {A} containerd -
/system.slice/runc-{A}.scope                                   c {A12} {A} - -
/actions_job/{A}                                               c {A12} {A} - -
# ECS, LXC, Cloud Foundry
/ecs/{T}/{A}                                                   c {A12} {A} - -
/ecs/cluster/{T}/{A}                                           c {A12} {A} - -
/ecs/{T}/{T}-3516230711                                        c {T}-3516230711 {T}-3516230711 - -
/ecstasks.slice/ecstasks-{T}.slice/docker-{A}.scope            c {A12} {A} docker -
/ecs/{T}                                                       h host - - -
/other/{T}-3516230711                                          h host - - -
/lxc/101/ns/system.slice/nginx.service                         c 101 101 lxc -
/lxc.payload.web-frontend-01/init.scope                        c web-frontend-01 web-frontend-01 lxc -
/lxc.payload/web                                               c web web lxc -
/lxc.monitor.web                                               h host - - -
/lxc.payload.web/system.slice/docker-{A}.scope                 c {A12} {A} docker -
/system.slice/garden.service/garden/70cdcd6a-12ba-4a7b-6d9a-4b3c         c 70cdcd6a-12ba-4a7b-6d9a-4b3c 70cdcd6a-12ba-4a7b-6d9a-4b3c garden -
/system.slice/garden.service/garden/good/70cdcd6a-12ba-4a7b-6d9a-4b3c    c 70cdcd6a-12ba-4a7b-6d9a-4b3c 70cdcd6a-12ba-4a7b-6d9a-4b3c garden -
/system.slice/garden.service/garden                            u garden - - -
# systemd
/system.slice/nginx.service                                    u nginx - - -
/system.slice/system-getty.slice/getty@tty1.service            u getty@tty1 - - -
/system.slice/foo@bar.service                                  u foo@bar - - -
/system.slice/system-postgresql.slice/postgresql@15-main.service/worker   u postgresql@15-main - - -
/system.slice/docker.service/init.scope                        u docker - - -
/system.slice/dev-hugepages.mount                              u dev-hugepages.mount - - -
/system.slice/run-r{T}.scope                                   u run-r{T} - - -
/system.slice/run-r{A}.scope                                   u run-r{A} - - -
/system.slice/{A}.service                                      u {A} - - -
/user.slice/user-1000.slice/session-3.scope                    u session-3 - - -
/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-4242.scope   u app-firefox-4242 - - -
/user.slice/user-1000.slice/user@1000.service/init.scope       u user@1000 - - -
/user.slice/user-1000.slice                                    h host - - -
/machine.slice/systemd-nspawn@deb.service/payload/system.slice/ssh.service   u systemd-nspawn@deb - - -
/init.scope                                                    u init - - -
/system.slice                                                  h host - - -
/                                                              h host - - -
# Not what they look like
/scratch/{A}0                                                  h host - - -
/scratch/{AUP}                                                 h host - - -
/scratch/docker-{T}                                            h host - - -
/scratch/pod1234                                               h host - - -
/system.slice/pod{T}.service                                   u pod{T} - - -
";

fn expand(template: &str) -> String {
    let names = [("{A}", A), ("{B}", B), ("{P}", P), ("{Q}", Q), ("{S}", S), ("{T}", T)];
    let mut text = template
        .replace("{U}", &P.replace('-', "_"))
        .replace("{A12}", &A[..12])
        .replace("{B12}", &B[..12])
        .replace("{AUP}", &A.to_uppercase());
    for (name, value) in names {
        text = text.replace(name, value);
    }
    text
}

fn told(owner: &Owner<'_>) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let kind = match owner.kind {
        WorkloadKind::Container => "c",
        WorkloadKind::Unit => "u",
        WorkloadKind::Host => "h",
    };
    let (id, runtime) = (or_dash(owner.container_id), or_dash(owner.runtime.unwrap_or_default()));
    format!("{kind} {} {id} {runtime} {}", owner.name, or_dash(owner.pod_uid.as_deref().unwrap_or_default()))
}

#[test]
fn the_corpus_is_named_as_people_expect() {
    let cases: Vec<&str> = CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(cases.len() >= 80);
    for case in cases {
        let case = expand(case);
        let (path, expected) = case.split_once(' ').unwrap();
        let owner = owner(path);
        assert_eq!(told(&owner), expected.trim(), "{path}");
        // What lies below belongs to the same owner, and the owner's path says so again.
        if owner.kind != WorkloadKind::Host {
            assert!(path.starts_with(owner.path));
            assert_eq!(super::owner(owner.path), owner, "{path}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_has_an_owner(path in any::<String>()) {
        let owner = owner(&path);
        prop_assert!(!owner.name.is_empty());
    }

    /// Pieces of real paths in any order, so that every branch is reached.
    #[test]
    fn any_pile_of_pieces_has_one_owner(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{A}", "{B}", "docker", "lxc", "garden", "good", "ecs", "{T}-12", "docker-{A}.scope", "pod{P}",
            "kubepods-pod{U}.slice", "kubepods-pod{U}.slice:cri-containerd:{A}", "x.service", "init.scope",
            "user@1000.service", "", "..", ":", "-", ".scope", "é", "-pod.slice", "crio-conmon-{A}.scope",
            "lxc.payload.", "pod", ".service",
        ]), 0..8),
    ) {
        let path = expand(&format!("/{}", pieces.join("/")));
        let owner = owner(&path);
        prop_assert!(!owner.name.is_empty());
        prop_assert_eq!(owner.kind == WorkloadKind::Container, !owner.container_id.is_empty());
        prop_assert!(owner.path == "/" || path.starts_with(owner.path));
        let below = format!("{path}/anything");
        let inside = super::owner(&below);
        let last = pieces.iter().rfind(|piece| !piece.is_empty());
        if !matches!(last, Some(&("lxc" | "garden" | "good"))) {
            prop_assert_eq!(inside, owner, "a plain group below changes nothing");
        }
    }
}
