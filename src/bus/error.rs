use std::path::PathBuf;

/// Why the bus cannot be listened to at all. What happens later is in the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program cannot speak AMQP.
    #[error("`url` in [bus] is set, but this program was built without the cargo feature `amqp`")]
    Feature,
    /// The URL cannot be used. The text never holds it, nor what is wrong with it: it may have a password.
    #[error("`url` in [bus] is no URL of a broker, as amqps://USER:PASSWORD@HOST/%2F")]
    Url,
    /// Nothing would come.
    #[error(
        "`topics` in [bus] is empty: name those on which pushes are announced, as \"org.example.registry.#\""
    )]
    Topics,
    /// The broker cannot know which messages are meant.
    #[error("`{key}` in [bus] has more than 255 bytes: {text}")]
    Long {
        /// Which key.
        key: &'static str,
        /// What stands there.
        text: String,
    },
    /// It does not begin with a slash.
    #[error("`repository` in [bus] is no JSON pointer (RFC 6901), as \"/repository\": {0}")]
    Pointer(String),
    /// A client's certificate is of no use without its key, nor the key alone.
    #[error("[bus] needs both `certificate` and `key`, or neither")]
    HalfIdentity,
    /// A file that is named cannot be read.
    #[error("`{key}` in [bus], {}: {source}", path.display())]
    File {
        /// Which key.
        key: &'static str,
        /// Its value.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
