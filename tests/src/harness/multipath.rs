//! MPTCP of a network namespace: whether it is there, and over which addresses connections go. `ip mptcp`,
//! without `ip`: busybox has no such command.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;

use anyhow::{Context as _, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::runner::Skip;

/// Generic netlink's own family, its request for another's number, and where that is in the answer
/// (include/uapi/linux/genetlink.h).
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Netlink (include/uapi/linux/netlink.h).
const NETLINK_GENERIC: i32 = 16;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 1 << 15;
/// The path manager (include/uapi/linux/mptcp.h).
const MPTCP_PM_VERSION: u8 = 1;
const MPTCP_PM_CMD_ADD_ADDR: u8 = 1;
const MPTCP_PM_CMD_SET_LIMITS: u8 = 5;
const MPTCP_PM_ATTR_ADDR: u16 = 1;
const MPTCP_PM_ATTR_RCV_ADD_ADDRS: u16 = 2;
const MPTCP_PM_ATTR_SUBFLOWS: u16 = 3;
const MPTCP_PM_ADDR_ATTR_FAMILY: u16 = 1;
const MPTCP_PM_ADDR_ATTR_ID: u16 = 2;
const MPTCP_PM_ADDR_ATTR_ADDR4: u16 = 3;
const MPTCP_PM_ADDR_ATTR_FLAGS: u16 = 6;
const MPTCP_PM_ADDR_FLAG_SUBFLOW: u32 = 2;
/// Lengths of the headers with generic netlink's own, and with the code of an error, bytes.
const GENERIC: usize = 20;
const ERROR: usize = 20;

/// A [`Skip`] where the kernel has no MPTCP: it came with 5.6, and Debian has it since 5.16.
pub fn required() -> anyhow::Result<()> {
    if std::path::Path::new("/proc/sys/net/mptcp/enabled").exists() {
        return Ok(());
    }
    Err(Skip("this kernel has no MPTCP".into()).into())
}

/// The path manager of the calling thread's network namespace.
#[derive(Debug)]
pub struct PathManager {
    socket: Socket,
    family: u16,
}

impl PathManager {
    /// Finds it.
    pub fn open() -> anyhow::Result<Self> {
        let protocol = Some(Protocol::from(NETLINK_GENERIC));
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, protocol)?;
        let mut manager = Self { socket, family: GENL_ID_CTRL };
        let name = attribute(CTRL_ATTR_FAMILY_NAME, b"mptcp_pm\0");
        let answer = manager.request(CTRL_CMD_GETFAMILY, &name)?.context("no family in the answer")?;
        manager.family = find(&answer, CTRL_ATTR_FAMILY_ID).context("no number of the family")?;
        Ok(manager)
    }

    /// How many further subflows a connection may have, and how many addresses it takes from its peer.
    pub fn limit(&self, subflows: u32, addresses: u32) -> anyhow::Result<()> {
        let limits = [
            attribute(MPTCP_PM_ATTR_RCV_ADD_ADDRS, &addresses.to_ne_bytes()),
            attribute(MPTCP_PM_ATTR_SUBFLOWS, &subflows.to_ne_bytes()),
        ];
        self.request(MPTCP_PM_CMD_SET_LIMITS, &limits.concat()).map(drop)
    }

    /// Connections made here get a further subflow, from `address`.
    pub fn add_subflow(&self, id: u8, address: Ipv4Addr) -> anyhow::Result<()> {
        let address = [
            attribute(MPTCP_PM_ADDR_ATTR_FAMILY, &(libc::AF_INET as u16).to_ne_bytes()),
            attribute(MPTCP_PM_ADDR_ATTR_ID, &[id]),
            attribute(MPTCP_PM_ADDR_ATTR_ADDR4, &address.octets()),
            attribute(MPTCP_PM_ADDR_ATTR_FLAGS, &MPTCP_PM_ADDR_FLAG_SUBFLOW.to_ne_bytes()),
        ];
        let nested = attribute(MPTCP_PM_ATTR_ADDR | NLA_F_NESTED, &address.concat());
        self.request(MPTCP_PM_CMD_ADD_ADDR, &nested).map(drop)
    }

    /// Sends a command and waits for its acknowledgement; the attributes of the answer before it, if any.
    fn request(&self, command: u8, attributes: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        let length = u32::try_from(GENERIC + attributes.len())?;
        let message = [
            &length.to_ne_bytes()[..],
            &self.family.to_ne_bytes(),
            &NLM_F_REQUEST_ACK.to_ne_bytes(),
            &[0; 8],
            &[command, MPTCP_PM_VERSION, 0, 0],
            attributes,
        ];
        (&self.socket).write_all(&message.concat()).context("asking netlink")?;
        let (mut buffer, mut answer) = ([0; 8_192], None);
        loop {
            let length = (&self.socket).read(&mut buffer).context("listening to netlink")?;
            let message = &buffer[..length];
            ensure!(length >= ERROR, "netlink says {message:?}");
            if u16::from_ne_bytes([message[4], message[5]]) == NLMSG_ERROR {
                let code = i32::from_ne_bytes([message[16], message[17], message[18], message[19]]);
                if code != 0 {
                    bail!("netlink refuses {command}: {}", std::io::Error::from_raw_os_error(-code));
                }
                return Ok(answer);
            }
            answer = Some(message[GENERIC..].to_vec());
        }
    }
}

/// An attribute, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The attribute of this kind, a 16-bit number.
fn find(mut attributes: &[u8], kind: u16) -> Option<u16> {
    while let [a, b, c, d, rest @ ..] = attributes {
        let length = usize::from(u16::from_ne_bytes([*a, *b]));
        if u16::from_ne_bytes([*c, *d]) == kind {
            return Some(u16::from_ne_bytes([*rest.first()?, *rest.get(1)?]));
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
    None
}
