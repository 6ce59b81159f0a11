//! A volunteer's mirror with Debian's Apache httpd, which takes its directives from the story.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use super::namespace::{self, Namespace};
use super::program::{Program, command};

/// What Debian's package enables, and what `a2enmod rewrite headers ssl` does.
const MODULES: [&str; 12] = [
    "mpm_event",
    "alias",
    "authz_core",
    "mime",
    "setenvif",
    "env",
    "filter",
    "deflate",
    "rewrite",
    "headers",
    "socache_shmcb",
    "ssl",
];

pub(crate) struct Apache {
    _program: Program,
}

impl Apache {
    /// The folder whose content is at `/`.
    pub(crate) fn root_of(namespace: &Namespace, name: &str) -> PathBuf {
        namespace.folder.join(name).join("root")
    }

    /// Starts it with TLS at the IPv4 address of the host name `name`; `directives` are for its <VirtualHost>.
    pub(crate) fn start(namespace: &Namespace, name: &str, directives: &str) -> Apache {
        let folder = namespace.folder.join(name);
        let root = Apache::root_of(namespace, name);
        fs::create_dir_all(&root).expect("the mirror's folder");
        let identity = namespace.authority.issue(&[name]);
        let address = namespace::addresses(name)[0];
        let load = |it: &&str| format!("IncludeOptional /etc/apache2/mods-available/{it}.load\n");
        let modules: String = MODULES.iter().map(load).collect();
        let (place, root) = (folder.display(), root.display());
        let (certificate, key) = (identity.certificate.display(), identity.key.display());
        let config = format!(
            r#"ServerRoot {place}
ServerName {name}
DefaultRuntimeDir {place}
PidFile {place}/pid
ErrorLog {place}/error.log
Listen {address}:443
User www-data
Group www-data
{modules}Include /etc/apache2/mods-available/mime.conf
Include /etc/apache2/mods-available/deflate.conf
<VirtualHost {address}:443>
    DocumentRoot {root}
    SSLEngine on
    SSLCertificateFile {certificate}
    SSLCertificateKeyFile {key}
{directives}
</VirtualHost>
"#
        );
        fs::write(folder.join("apache.conf"), config).expect("Apache's configuration");
        let mut apache = command("apache2");
        apache.arg("-D").arg("FOREGROUND").arg("-f").arg(folder.join("apache.conf"));
        let mut program = Program::start("apache2", &folder, apache);
        program.wait_until("connection", || TcpStream::connect((address, 443)).is_ok());
        Apache { _program: program }
    }
}
