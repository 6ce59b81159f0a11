//! Five hundred clients behind one address, and every mirror good: that must stay the mirrors' load.

use std::fmt::Write as _;
use std::fs;

use crate::rig::image::Image;
use crate::rig::namespace::{self, CLIENT_DE, REGISTRY};
use crate::rig::nginx::Scheme;
use crate::rig::origin;
use crate::rig::program::{command, finish};
use crate::rig::world::{Engine, World};

const CLIENTS: usize = 500;

/// Of all answers, at most one in so many may be the fallback.
const ANSWERS_PER_FALLBACK: usize = 20;

const MIRRORS: [&str; 3] = ["de.mirror.test", "de2.mirror.test", "de3.mirror.test"];

#[test]
fn behind_one_address_goes_to_the_mirrors() {
    namespace::enter(|namespace| {
        let world = World::new(namespace, Engine::Sqlite);
        Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
        world.publish();
        let mirrors = MIRRORS.map(|name| world.mirror(name, Scheme::Https, ""));
        mirrors.iter().for_each(|mirror| world.fill(&mirror.root()));
        world.crawl();
        let serve = world.portolan.serve();
        namespace::connect_from(CLIENT_DE, REGISTRY);
        let layers = world.origin.layers("fedora", "latest");
        let urls: Vec<String> =
            layers.iter().map(|it| format!("https://registry.test/v2/fedora/blobs/{it}")).collect();

        // Machines of one kind: the same image, the same program, and it looks as if one client came 500 times.
        let alike = Crowd::pull(&world, &urls, |_| "docker/28.5.2".to_owned());
        alike.check("alike");
        let [least, most] = [alike.redirects.iter().min(), alike.redirects.iter().max()];
        assert!(least.unwrap() * 2 > *most.unwrap(), "one mirror bears the crowd: {:?}", alike.redirects);
        // Nobody else has this client's name, so it never seems to come again.
        let different = Crowd::pull(&world, &urls, |number| format!("docker/28.5.2 client/{number}"));
        different.check("different");
        assert_eq!(different.fallbacks, 0);
        serve.stop();
    });
}

/// What became of one crowd.
struct Crowd {
    answers: usize,
    /// Sent by Portolan itself.
    fallbacks: usize,
    /// Redirects, by mirror.
    redirects: [usize; MIRRORS.len()],
}

impl Crowd {
    /// Every client asks for every layer, one client after the other, as fast as it goes.
    fn pull(world: &World<'_>, urls: &[String], agent: impl Fn(usize) -> String) -> Crowd {
        let mut config = String::new();
        for client in 0..CLIENTS {
            for url in urls {
                let agent = agent(client);
                writeln!(config, "url = \"{url}\"\nuser-agent = \"{agent}\"\noutput = \"/dev/null\"")
                    .unwrap();
                config.push_str(
                    "silent\nmax-time = 60\nwrite-out = \"%{http_code} %{redirect_url}\\n\"\nnext\n",
                );
            }
        }
        let file = world.namespace.folder.join("crowd");
        fs::write(&file, config.trim_end_matches("next\n")).unwrap();
        let mut curl = command("curl");
        curl.arg("--config").arg(&file);
        let printed = finish(curl).expect_success();
        let count = |wanted: &dyn Fn(&str) -> bool| printed.lines().filter(|line| wanted(line)).count();
        Crowd {
            answers: count(&|_| true),
            fallbacks: count(&|line| line.starts_with("200")),
            redirects: MIRRORS.map(|name| count(&|line| line.starts_with(&format!("302 https://{name}/")))),
        }
    }

    #[track_caller]
    fn check(&self, name: &str) {
        let Crowd { answers, fallbacks, redirects } = self;
        println!("{name}: {answers} answers, {fallbacks} by the fallback, mirrors {redirects:?}");
        assert_eq!(*answers, CLIENTS * 4);
        assert_eq!(fallbacks + redirects.iter().sum::<usize>(), *answers, "some answer was neither");
        assert!(fallbacks * ANSWERS_PER_FALLBACK <= *answers, "{fallbacks} of {answers} by the fallback");
    }
}
