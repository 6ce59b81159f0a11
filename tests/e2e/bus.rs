//! Pushes are announced on a message bus: what a message names is answered within seconds.

use std::time::{Duration, Instant};

use crate::rig::http;
use crate::rig::image::Image;
use crate::rig::namespace;
use crate::rig::origin;
use crate::rig::program::wait_for;
use crate::rig::rabbitmq::{self, RabbitMq};
use crate::rig::world::{Engine, World};

/// An announcement is answered after a second of waiting for more, an export and a scan; a broker that comes back is
/// connected to again after some seconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(40);

const TOPIC: &str = "org.example.prod.registry.push";

fn answered(repository: &str) -> Option<String> {
    let answer = http::head(&format!("https://registry.test/v2/{repository}/manifests/latest"), &[]);
    (answer.status == 200).then(|| answer.header("docker-content-digest").unwrap().to_owned())
}

#[test]
fn what_is_announced_is_answered_within_seconds() {
    namespace::enter(|namespace| {
        let mut broker = RabbitMq::start(namespace);
        let authority = namespace.folder.join("authority.pem");
        std::fs::write(&authority, namespace.authority.certificate()).expect("the authority's file");
        let world = World::new(namespace, Engine::Sqlite);
        let bus = format!(
            "[bus]\nurl = \"{}\"\nca_file = \"{}\"\ntopics = [\"org.example.*.registry.#\"]\n\
             repository = \"/image/name\"\n[export]\ninterval = \"1h\"",
            rabbitmq::URL,
            authority.display()
        );
        world.portolan.configure("[export]\ninterval = \"1s\"", &bus);
        Image::ordinary("fedora").push(origin::URL, "fedora", "latest");
        let run = world.portolan.service("run");
        let count = |text: &str| run.log().lines().filter(|line| line.contains(text)).count();
        let until = |what: &str, is_so: &mut dyn FnMut() -> bool| {
            let started = Instant::now();
            assert!(
                wait_for(ANSWERED_WITHIN, is_so),
                "{what}: not within {ANSWERED_WITHIN:?}\n{}",
                run.log()
            );
            println!("{what}: after {:?}", started.elapsed());
        };
        until("connected", &mut || count("listening to the message bus") == 1);
        until("all is exported at the start", &mut || count("scanned") == 1);

        let newer = Image::ordinary("newer").push(origin::URL, "fedora", "latest");
        let other = Image::ordinary("other").push(origin::URL, "other", "latest");
        broker.publish("org.example.prod.koji.push", r#"{"image": {"name": "other"}}"#);
        for garbage in ["", "{", "\u{0}", r#"{"image": "fedora"}"#, r#"{"image": {"name": "candidate/x"}}"#] {
            broker.publish(TOPIC, garbage);
        }
        broker.publish(TOPIC, r#"{"image": {"name": "fedora:latest"}}"#);
        until("an announcement", &mut || answered("fedora").as_ref() == Some(&newer));
        assert_eq!((count("exported"), answered("other")), (2, None), "{}", run.log());

        broker.kill();
        until("the broker is missed", &mut || count("no connection to the message bus") > 0);
        assert!(answered("fedora").is_some());
        broker.start_again();
        until("connected again", &mut || count("listening to the message bus") == 2);
        broker.publish(TOPIC, r#"{"image": {"name": "other"}}"#);
        until("an announcement after that", &mut || answered("other").as_ref() == Some(&other));
        assert!(!run.log().contains("guest:guest"), "{}", run.log());
        run.stop();
    });
}
