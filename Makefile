.PHONY: test test-clients fault-matrix bench

# Installs what the tests need (Debian 12, root), then runs all of them.
test:
	tests/setup.sh
	cargo test --locked

# Compares what answers cost with a server that does nothing but answer; installs wrk (Debian 12, root).
bench:
	bench/setup.sh
	cargo bench --locked --bench serve

# The fault matrix with newer clients than Debian 12's. They come into a folder of their own (800 MB, some minutes).
test-clients:
	tests/setup.sh
	tests/clients.sh target/clients
	PORTOLAN_CLIENTS=$(CURDIR)/target/clients \
		cargo test --locked --test e2e -- --ignored --nocapture fault_matrix::with_modern_clients

# Copies what these two measured into docs/clients.md.
fault-matrix:
	for table in fault-matrix.md fault-matrix-modern.md; do \
		sed -i -e "/^<!-- $$table -->/r target/$$table" -e "/^<!-- $$table -->/,/^<!-- end -->/{//!d}" docs/clients.md; \
	done
