//! Copies into a PostgreSQL server of its own. They need its programs (Debian: `postgresql`), and fail without; nothing of the
//! machine's own servers is touched.

mod cluster;
mod copying;
