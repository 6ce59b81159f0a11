//! A real Chromium, driven as a person drives it, and what it thinks of the pages it sees.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thirtyfour::prelude::*;
use thirtyfour::{ChromeCapabilities, LoggingPrefsLogLevel};
use tokio::runtime::Runtime;

use super::http;
use super::namespace::Namespace;
use super::program::{Program, command, finish_within, wait_for};

/// Where the driver listens.
const DRIVER: &str = "127.0.0.1:9515";

/// A page and what is on it comes so soon.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);

/// What checks whether those who cannot see a page can use it.
const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/npm/node_modules/axe-core/axe.min.js");

/// What checks whether a page is valid HTML.
const VALIDATOR: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/npm/node_modules/html-validate/bin/html-validate.mjs");

pub(crate) struct Browser {
    runtime: Runtime,
    driver: WebDriver,
    axe: String,
    pictures: PathBuf,
    _program: Program,
}

impl Browser {
    /// Starts it with a window of 1,200 by 900. Pictures of pages go into the folder `target/pictures`.
    pub(crate) fn start(namespace: &Namespace) -> Browser {
        let folder = namespace.folder.join("chromium");
        fs::create_dir_all(&folder).expect("the browser's folder");
        let mut driver = command("chromedriver");
        driver.arg("--port=9515");
        let mut program = Program::start("chromedriver", &folder, driver);
        program.wait_until("connection", || TcpStream::connect(DRIVER).is_ok());
        let runtime = Runtime::new().expect("a runtime");
        let driver = runtime.block_on(WebDriver::new(format!("http://{DRIVER}"), capabilities(&folder)));
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pictures");
        fs::create_dir_all(&pictures).expect("the pictures' folder");
        let axe = fs::read_to_string(AXE).unwrap_or_else(|e| panic!("{AXE}: {e}: run tests/setup.sh"));
        Browser { runtime, driver: driver.expect("a browser"), axe, pictures, _program: program }
    }

    #[track_caller]
    pub(crate) fn go(&self, url: &str) {
        self.runtime.block_on(self.driver.goto(url)).unwrap_or_else(|e| panic!("{url}: {e}"));
    }

    pub(crate) fn url(&self) -> String {
        self.runtime.block_on(self.driver.current_url()).expect("where the browser is").to_string()
    }

    /// The text that can be seen.
    pub(crate) fn text(&self) -> String {
        self.runtime
            .block_on(async { self.driver.find(By::Tag("body")).await?.text().await })
            .expect("a body")
    }

    /// Follows a link or presses a button that is called so.
    #[track_caller]
    pub(crate) fn click(&self, words: &str) {
        let path = format!(
            "//main//*[self::a or self::button][normalize-space()=\"{words}\"] | //nav//*[self::a or self::button][normalize-space()=\"{words}\"]"
        );
        let click = async { self.driver.find(By::XPath(path)).await?.click().await };
        self.runtime.block_on(click).unwrap_or_else(|e| panic!("{words}: {e}\n{}", self.text()));
    }

    /// Types into the field that is called so.
    #[track_caller]
    pub(crate) fn fill(&self, label: &str, value: &str) {
        let path = format!("//*[@id=//label[normalize-space()=\"{label}\"]/@for]");
        let fill = async {
            let field = self.driver.find(By::XPath(path)).await?;
            field.clear().await?;
            field.send_keys(value).await
        };
        self.runtime.block_on(fill).unwrap_or_else(|e| panic!("{label}: {e}\n{}", self.text()));
    }

    /// Is signed out at a site, as by closing the browser.
    #[cfg(feature = "oidc")]
    pub(crate) fn forget(&self, url: &str) {
        self.go(url);
        self.runtime.block_on(self.driver.delete_all_cookies()).expect("no cookies");
    }

    /// Waits until these words can be seen; how long that took.
    #[track_caller]
    pub(crate) fn wait_for(&self, limit: Duration, words: &str) -> Duration {
        let began = std::time::Instant::now();
        // A page that looks anew by itself may be between two looks.
        let shown = || {
            let body = async { self.driver.find(By::Tag("body")).await?.text().await };
            self.runtime.block_on(body).is_ok_and(|it| it.contains(words))
        };
        assert!(wait_for(limit, shown), "{words:?} is not seen at {}:\n{}", self.url(), self.text());
        began.elapsed()
    }

    /// The page says these words, the console has no error, axe finds nothing, it is valid HTML; a picture is kept.
    #[track_caller]
    pub(crate) fn see(&self, name: &str, words: &str) {
        self.wait_for(SHOWN_WITHIN, words);
        self.check(name);
    }

    #[track_caller]
    pub(crate) fn check(&self, name: &str) {
        let picture = self.pictures.join(format!("{name}.png"));
        let look = async {
            self.driver.screenshot(&picture).await?;
            let script = format!(
                "{}; const done = arguments[0]; axe.run().then(it => done(it.violations.map(it => it.id + ': ' + \
                 it.nodes.map(it => it.html).join(' '))), it => done([String(it)]));",
                self.axe
            );
            let violations: Vec<String> = self.driver.execute_async(script, Vec::new()).await?.convert()?;
            Ok::<_, WebDriverError>((violations, self.driver.get_log("browser").await?))
        };
        let (violations, log) = self.runtime.block_on(look).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(violations.is_empty(), "{name}: {violations:#?}");
        // A form that is refused is answered by 422, which the browser tells as an error.
        let errors: Vec<_> =
            log.iter().filter(|it| it.level == "SEVERE" && !it.message.contains("422")).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        self.check_validity(name);
    }

    /// Of the page as it comes. The answer to a refused form cannot be had again.
    #[track_caller]
    fn check_validity(&self, name: &str) {
        let cookies = self.runtime.block_on(self.driver.get_all_cookies()).expect("the cookies");
        let cookies: Vec<_> = cookies.iter().map(|it| format!("{}={}", it.name, it.value)).collect();
        let page = http::get(&self.url(), &[&format!("Cookie: {}", cookies.join("; "))]);
        if page.status != 200 {
            return;
        }
        let file = self.pictures.join(format!("{name}.html"));
        fs::write(&file, page.body).expect("the page's copy");
        let mut validator = command("node");
        validator.arg(VALIDATOR).args(["--preset", "standard"]).arg(&file);
        let checked = finish_within(SHOWN_WITHIN, validator);
        assert!(checked.success(), "{name}: {checked}");
    }

    /// A window as wide as a phone's, or of 1,200.
    pub(crate) fn set_width(&self, width: u32) {
        self.runtime.block_on(self.driver.set_window_rect(0, 0, width, 900)).expect("another window");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(self.driver.clone().quit());
    }
}

fn capabilities(folder: &Path) -> ChromeCapabilities {
    let mut wanted = DesiredCapabilities::chrome();
    let profile = format!("--user-data-dir={}", folder.display());
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1200,900",
        &profile,
    ];
    for argument in arguments {
        wanted.add_arg(argument).expect("an argument");
    }
    wanted.set_binary("/usr/bin/chromium").expect("the browser");
    wanted.accept_insecure_certs(true).expect("our own authority");
    wanted.set_browser_log_level(LoggingPrefsLogLevel::All).expect("a log");
    wanted
}
