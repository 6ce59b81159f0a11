//! The demonstration needs nothing and checks itself.

use crate::rig::namespace;
use crate::rig::portolan::Portolan;

#[test]
fn demo_once_pulls_through_itself() {
    namespace::enter(|namespace| {
        // An empty configuration: the demonstration makes its own world.
        let portolan = Portolan::new(namespace, "");
        let printed = portolan.done("demo --once");
        assert!(printed.contains("sha256:"), "it does not say which mirror served which layer:\n{printed}");
    });
}
