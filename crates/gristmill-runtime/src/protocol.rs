//! What the agent and its spawner say to each other, and how.
//!
//! One message is one packet of a `SOCK_SEQPACKET` pair: JSON, with descriptors attached. A
//! message too large for a packet (a huge environment) travels in a memory file whose
//! descriptor comes first; its packet is empty.

use crate::spec::{SandboxSpec, Series, SeriesEvent};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Seek, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

/// Names a run between the two.
pub(crate) type Ticket = u64;

/// From the agent to the spawner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Start a run. Descriptors: standard output, standard error, and standard input if it has one.
    Spawn { ticket: Ticket, sandbox: Box<SandboxSpec>, series: Series },
    /// Make a sandbox that waits for its first run.
    Prepare { sandbox: Box<SandboxSpec> },
    /// Send `SIGTERM` to the program, and after the grace kill its tree.
    Stop { ticket: Ticket, grace_millis: u64 },
    /// Kill its tree now.
    Kill { ticket: Ticket },
    /// End the sandbox that was kept with this scratch directory, if there is one.
    LetGo { scratch: PathBuf },
}

/// From the spawner to the agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// About which run.
    pub ticket: Ticket,
    /// What happened.
    pub event: SeriesEvent,
}

/// Larger messages travel in a memory file. Well below the smallest socket buffer.
const PACKET_BYTES_MAX: usize = 64 * 1024;
/// A message of more bytes is refused: no command line the kernel accepts needs them.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Memory file, standard output, standard error, standard input.
const DESCRIPTORS_MAX: usize = 4;

/// Sends one message. `Errno::AGAIN` when `flags` say not to wait and there is no room.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    attached: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() <= PACKET_BYTES_MAX {
        return send_packet(socket, &bytes, attached, flags);
    }
    let mut file = File::from(memfd_create("message", MemfdFlags::CLOEXEC)?);
    file.write_all(&bytes)?;
    let with_file: Vec<_> = [file.as_fd()].into_iter().chain(attached.iter().copied()).collect();
    send_packet(socket, b"M", &with_file, flags)
}

fn send_packet(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    attached: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !attached.is_empty() && !control.push(SendAncillaryMessage::ScmRights(attached)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    let flags = flags | SendFlags::NOSIGNAL;
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Room for one packet, kept from message to message.
pub(crate) struct Room(Vec<u8>);

impl Default for Room {
    fn default() -> Self {
        Self(vec![0; PACKET_BYTES_MAX])
    }
}

/// Takes one message; waits for it unless `flags` say otherwise. `None`: the other end is gone.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    room: &mut Room,
    flags: RecvFlags,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let bytes = &mut room.0;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let length = loop {
        let mut parts = [IoSliceMut::new(bytes)];
        match recvmsg(socket, &mut parts, &mut control, flags) {
            Ok(received) => break received.bytes,
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    if length == 0 {
        return Ok(None);
    }
    let mut attached = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            attached.extend(descriptors);
        }
    }
    if &bytes[..length] != b"M" {
        return Ok(Some((serde_json::from_slice(&bytes[..length])?, attached)));
    }
    if attached.is_empty() {
        return Err(io::Error::other("a large message came without its memory file"));
    }
    let message = read_all(attached.remove(0))?;
    Ok(Some((serde_json::from_slice(&message)?, attached)))
}

fn read_all(file: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(file);
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a socket pair needs nothing")
    }

    #[test]
    fn messages_of_any_size_arrive_with_their_descriptors() {
        let (here, there) = pair();
        for length in [1, 100, PACKET_BYTES_MAX, 1_000_000] {
            let text = "x".repeat(length);
            let file = File::open("/dev/null").expect("it is always there");
            send(here.as_fd(), &text, &[file.as_fd()], SendFlags::empty()).expect("sent");
            let (read, attached): (String, _) =
                receive(there.as_fd(), &mut Room::default(), RecvFlags::empty())
                    .expect("received")
                    .expect("not closed");
            assert_eq!((read.len(), attached.len()), (length, 1));
        }
    }

    #[test]
    fn a_closed_end_is_the_end() {
        let (here, there) = pair();
        drop(here);
        let heard = receive::<String>(there.as_fd(), &mut Room::default(), RecvFlags::empty());
        assert!(heard.expect("read").is_none());
    }
}
