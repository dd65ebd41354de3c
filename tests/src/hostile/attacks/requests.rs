//! Requests in HTTP/1.1 that a server must refuse: two different servers, or two different readers of one request, could
//! take them for different things (RFC 9112, 3.2 and 2.2; RFC 9110, 11.6.2).

/// Each with a name for the tally. `token`: that of somebody who may read what is asked for; `path`: of a good request.
pub(super) fn doubtful(path: &str, token: &str, other: &str) -> Vec<(&'static str, String)> {
    let begin = format!("GET {path} HTTP/1.1\r\n");
    let authorization = format!("authorization: Bearer {token}\r\n");
    let end = "connection: close\r\n\r\n";
    vec![
        ("two Hosts", format!("{begin}host: wardline\r\nhost: elsewhere\r\n{authorization}{end}")),
        ("two Hosts that agree", format!("{begin}host: wardline\r\nhost: wardline\r\n{authorization}{end}")),
        ("no Host", format!("{begin}{authorization}{end}")),
        (
            "two Authorization",
            format!("{begin}host: wardline\r\n{authorization}authorization: Bearer {other}\r\n{end}"),
        ),
        (
            "bare line feeds",
            format!("GET {path} HTTP/1.1\nhost: wardline\nauthorization: Bearer {token}\nconnection: close\n\n"),
        ),
        (
            "one bare line feed",
            format!("{begin}host: wardline\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"),
        ),
    ]
}
