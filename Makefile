.PHONY: test test-tls test-clients test-ansible test-container fault-matrix bench simulate bench-crawl bench-export bench-pull

# Installs what the tests need (Debian 12, root), then runs all of them: on two cores three at once, for they wait much.
test:
	tests/setup.sh
	RUST_TEST_THREADS=$$(( $$(nproc) + 1 )) cargo test --locked --features amqp,oidc

# The databases over TLS; builds OpenSSL (Debian 12, root).
test-tls:
	tests/setup.sh
	cargo test --locked --all-features --test e2e -- by_tls

# Compares what answers cost with a server that does nothing but answer; installs wrk (Debian 12, root).
bench:
	bench/setup.sh
	cargo bench --locked --bench serve

# Where clients are sent, by our ranking and by others, and a day with a release: a table and the pictures of docs/ranking.md.
simulate:
	cargo bench --locked --bench simulate

# Measures the memory of a crawler of 1,000 hosts (Debian 12, root).
bench-crawl:
	tests/setup.sh
	cargo test --locked --release --test e2e -- --ignored --nocapture --test-threads 1 crawl_memory

# Compares `portolan pull` with skopeo, and three slow mirrors with one; measures the agent's memory (Debian 12, root).
bench-pull:
	tests/setup.sh
	cargo test --locked --release --test e2e -- --ignored --nocapture --test-threads 1 pull_speed agent_memory

# Compares `portolan export` with skopeo, and measures what registry files, `all`, pieces and their metalinks cost
# (Debian 12, root; ten minutes).
bench-export:
	tests/setup.sh
	cargo test --locked --release --test e2e -- --ignored --nocapture --test-threads 1 export_speed metalink_cost

# The fault matrix with newer clients than Debian 12's. They come into a folder of their own (800 MB, some minutes).
test-clients:
	tests/setup.sh
	tests/clients.sh target/clients
	PORTOLAN_CLIENTS=$(CURDIR)/target/clients \
		cargo test --locked --test e2e -- --ignored --nocapture --test-threads 1 with_modern_clients

# The playbook of deploy/ansible in a machine of its own, twice, and the site that it makes (Debian 12, root; 1 GB).
test-ansible:
	cargo build --locked
	tests/ansible.sh $(CURDIR)/target/ansible $(CURDIR)/target/debug/portolan

# The container of deploy/Containerfile, built on a Debian 12 made for it, and what answers in it (Debian 12, root; 1 GB).
test-container:
	tests/setup.sh
	cargo build --locked
	tests/container.sh $(CURDIR)/target/container $(CURDIR)/target/debug/portolan
	PORTOLAN_CONTAINER=$(CURDIR)/target/container \
		cargo test --locked --test e2e -- --ignored --nocapture the_container_runs

# Copies what these two measured into docs/clients.md.
fault-matrix:
	for table in fault-matrix.md fault-matrix-modern.md fault-matrix-agent.md fault-matrix-agent-modern.md; do \
		[ ! -e target/$$table ] || sed -i -e "/^<!-- $$table -->/r target/$$table" -e "/^<!-- $$table -->/,/^<!-- end -->/{//!d}" docs/clients.md; \
	done
