//! A receiver of webhooks, and a mail server, of which each takes what comes and tells the test.

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What was said, by name or in lines, and what was sent.
pub(super) type Received = mpsc::UnboundedReceiver<(Vec<(String, String)>, String)>;
type Tells = mpsc::UnboundedSender<(Vec<(String, String)>, String)>;

/// A receiver that answers with these statuses, and then with 200.
pub(super) async fn receiver(statuses: Vec<u16>) -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?token=hidden", listener.local_addr().unwrap());
    let (tells, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut statuses = statuses.into_iter();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let status = statuses.next().unwrap_or(200);
            tokio::spawn(take_request(stream, status, tells.clone()));
        }
    });
    (url, received)
}

async fn take_request(stream: TcpStream, status: u16, tells: Tells) {
    let mut stream = BufReader::new(stream);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let answer = format!(
        "HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    // told before it is answered: who was answered has been told of
    let _ = tells.send((headers, String::from_utf8(body).unwrap()));
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// A mail server that knows the password "s3cret" and no encryption.
pub(super) async fn mail_server() -> (u16, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tells, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(take_mail(stream, tells.clone()));
        }
    });
    (port, received)
}

async fn take_mail(stream: TcpStream, tells: Tells) {
    let mut stream = BufReader::new(stream);
    let (mut said, mut text) = (Vec::new(), String::new());
    stream.write_all(b"220 localhost ready\r\n").await.unwrap();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            break;
        }
        let line = line.trim_end().to_owned();
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => b"250-localhost\r\n250 AUTH PLAIN\r\n",
            // "\0teller\0s3cret"
            "AUTH" if line.ends_with("AHRlbGxlcgBzM2NyZXQ=") => b"235 welcome\r\n",
            "AUTH" => b"535 no\r\n",
            "DATA" => b"354 go on\r\n",
            "QUIT" => b"221 bye\r\n",
            _ => b"250 well\r\n",
        };
        said.push((verb.clone(), line));
        if stream.write_all(answer).await.is_err() {
            break;
        }
        if verb == "DATA" {
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                if line == ".\r\n" {
                    break;
                }
                text.push_str(&line);
            }
            stream.write_all(b"250 taken\r\n").await.unwrap();
        }
        if verb == "QUIT" {
            break;
        }
    }
    let _ = tells.send((said, text));
}
