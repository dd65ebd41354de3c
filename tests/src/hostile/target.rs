//! What an attacker knows of a node: where it listens, what its own credentials open, and how hard it is to be attacked.

use super::tally::Tally;
use anyhow::Context;
use bytes::Bytes;
use futures::future::join_all;
use model::{DeviceId, PatientId};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::net::{TcpSocket, TcpStream};
use uuid::Uuid;

/// Where attackers come from; everybody else comes from 127.0.0.1.
pub const ATTACKERS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
/// After a connection was refused or lost.
const RECONNECT: Duration = Duration::from_millis(5);

/// Sizes and rates of the attacks.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Part of the connections and streams of the whole attack, above 0 to 1; there is always one.
    pub share: f64,
    /// Between two requests of one loop; zero: full speed.
    pub pause: Duration,
}

/// What an attacker can prove to be.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// A token of a doctor of the ward: not the one who is served meanwhile.
    pub doctor: String,
    /// A token of somebody who may neither send nor read.
    pub stranger: String,
    /// A device with a patient, and its token.
    pub device: (DeviceId, String),
    /// A device that the registry knows, and its token.
    pub registered: (DeviceId, String),
    /// A patient that the registry knows: user and token.
    pub patient: (Uuid, String),
    /// A patient of the ward; with a full day where the attack needs one.
    pub full: PatientId,
    /// A device that somebody else uses: its name is no secret.
    pub named: DeviceId,
}

/// A node under attack.
pub struct Target {
    /// Address of the gRPC port.
    pub grpc: SocketAddr,
    /// Address of the JSON API.
    pub api: SocketAddr,
    /// Address of the internal port.
    pub http: SocketAddr,
    /// What the attacker has.
    pub has: Credentials,
    /// What comes of it.
    pub tally: Tally,
    /// Sizes and rates of the attacks.
    pub scale: Scale,
    /// Decides on everything random.
    pub seed: u64,
}

impl Target {
    /// So many of `full` as the scale leaves, at least one.
    pub fn n(&self, full: usize) -> usize {
        ((full as f64 * self.scale.share).ceil() as usize).max(1)
    }

    /// The chances of one loop of an attack.
    pub fn random(&self, attack: &str, number: usize) -> StdRng {
        let name = attack.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        StdRng::seed_from_u64(self.seed ^ name.rotate_left(32) ^ number as u64)
    }

    /// So many copies of a loop at once, with the number and the chances of each.
    pub async fn at_once<F: Future<Output = ()>>(&self, attack: &str, full: usize, each: impl Fn(usize, StdRng) -> F) {
        join_all((0..self.n(full)).map(|number| each(number, self.random(attack, number)))).await;
    }

    /// Before the next request of a loop.
    pub async fn pause(&self) {
        if self.scale.pause.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.scale.pause).await;
        }
    }

    /// Before the next connection of a loop.
    pub async fn reconnect(&self) {
        tokio::time::sleep(self.scale.pause.max(RECONNECT)).await;
    }
}

/// A connection from one of the attackers' addresses; a small receive buffer makes the other side keep what is not read.
///
/// # Errors
/// It was refused, or this process has no descriptor left.
pub async fn connect(from: Ipv4Addr, to: SocketAddr, receive_bytes: Option<u32>) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind((from, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One of the attackers' addresses.
pub fn address(random: &mut StdRng) -> Ipv4Addr {
    ATTACKERS[random.random_range(0..ATTACKERS.len())]
}

/// A UUID that nobody has.
pub fn nobody(random: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(random.random()).into_uuid()
}

/// A message with one unknown field that fills it up to `n_bytes`: protobuf skips it, whatever the message is.
///
/// # Errors
/// It is too small for the field's head.
pub fn padding(n_bytes: usize) -> anyhow::Result<Bytes> {
    // field 100, length-delimited, its length in four bytes
    const HEAD: usize = 6;
    let length = n_bytes.checked_sub(HEAD).context("no room for a field")?;
    let mut message = vec![0xa2, 0x06];
    let parts = [0, 7, 14, 21].map(|shift| (length >> shift) as u8 & 0x7f);
    message.extend([parts[0] | 0x80, parts[1] | 0x80, parts[2] | 0x80, parts[3]]);
    message.resize(n_bytes, 0);
    Ok(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn padding_is_a_message_of_any_kind_and_of_that_size() {
        for n_bytes in [6, 2 << 10, 4 << 20] {
            let message = padding(n_bytes).unwrap();
            assert_eq!(message.len(), n_bytes);
            assert!(tonic_health::pb::HealthCheckRequest::decode(message).is_ok(), "{n_bytes}");
        }
        assert!(padding(5).is_err());
    }
}
