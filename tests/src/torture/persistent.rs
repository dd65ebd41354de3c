//! A sender that opens its stream again when another connection took it: the client stops then, and what follows is the
//! device's decision. This one knows that the other was its own, and that engines take their time to start.

use super::{
    content::Content,
    load::{Device, QUIET_LIMIT},
};
use client::{Error, Progress, Sender};
use tokio::{sync::watch, time::Instant};

/// Sends one device's batches, in order.
pub struct Persistent {
    device: Device,
    content: Content,
    sender: Sender,
    /// The last batch that was handed over.
    sent: u64,
    /// Through which batch the senders so far were acknowledged, whichever it was.
    acknowledged: watch::Sender<u64>,
    following: tokio::task::JoinHandle<()>,
    /// Of the senders before this one.
    connections: u64,
    accepted: u64,
}

impl Persistent {
    /// At the beginning of the device's stream.
    pub async fn open(device: Device, content: Content) -> Result<Self, Error> {
        let sender = Sender::open(device.channel.clone(), device.tokens.clone(), device.stream(0)).await?;
        let acknowledged = watch::Sender::new(0);
        let following = follow(&sender, acknowledged.clone());
        Ok(Self { device, content, sender, sent: 0, acknowledged, following, connections: 0, accepted: 0 })
    }

    /// Through which batch everything is acknowledged, as soon as it is.
    pub fn acknowledged(&self) -> watch::Receiver<u64> {
        self.acknowledged.subscribe()
    }

    /// Hands over the next batch.
    pub async fn send(&mut self, sequence: u64) -> Result<(), Error> {
        self.sent = sequence;
        let mut outcome = self.hand_over(sequence).await;
        while outcome.as_ref().is_err_and(is_superseded) {
            outcome = self.again().await;
        }
        outcome
    }

    /// Waits until all batches are acknowledged.
    pub async fn flush(&mut self) -> Result<(), Error> {
        loop {
            match self.sender.flush().await {
                Err(error) if is_superseded(&error) => {
                    while let Err(error) = self.again().await {
                        if !is_superseded(&error) {
                            return Err(error);
                        }
                    }
                }
                flushed => return flushed,
            }
        }
    }

    /// Batches that are not acknowledged.
    pub fn pending(&self) -> usize {
        self.sender.pending()
    }

    /// Ends the stream: how often it was opened, and what became of the batches.
    pub async fn close(self) -> Result<(u64, Progress), Error> {
        let connections = self.connections + self.sender.connections();
        let mut progress = self.sender.close(QUIET_LIMIT).await?;
        progress.accepted += self.accepted;
        // it has seen the last one, and with it ends what listens
        let _ = self.following.await;
        Ok((connections, progress))
    }

    async fn hand_over(&self, sequence: u64) -> Result<(), Error> {
        self.sender.send(sequence, self.content.readings(self.device.number, sequence, false)).await
    }

    /// A sender behind what is acknowledged, with all that is not.
    async fn again(&mut self) -> Result<(), Error> {
        let before = self.sender.progress();
        self.connections += self.sender.connections();
        self.accepted += before.accepted;
        let stream = self.device.stream(before.through);
        let deadline = Instant::now() + QUIET_LIMIT;
        self.sender = loop {
            match Sender::open(self.device.channel.clone(), self.device.tokens.clone(), stream.clone()).await {
                // a node that waits for an engine, on a busy machine
                Err(Error::Unreachable { .. }) if Instant::now() < deadline => {}
                opened => break opened?,
            }
        };
        self.following = follow(&self.sender, self.acknowledged.clone());
        for sequence in before.through + 1..=self.sent {
            self.hand_over(sequence).await?;
        }
        Ok(())
    }
}

fn is_superseded(error: &Error) -> bool {
    error.reason().as_deref() == Some("SUPERSEDED")
}

/// Passes on what one sender hears.
fn follow(sender: &Sender, to: watch::Sender<u64>) -> tokio::task::JoinHandle<()> {
    let mut heard = sender.acknowledged();
    tokio::spawn(async move {
        loop {
            let through = *heard.borrow_and_update();
            to.send_if_modified(|known| {
                let is_more = through > *known;
                *known = through.max(*known);
                is_more
            });
            if heard.changed().await.is_err() {
                return;
            }
        }
    })
}
