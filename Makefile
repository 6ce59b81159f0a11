.PHONY: test bench

# Installs what the tests need (Debian 12, root), then runs all of them.
test:
	tests/setup.sh
	cargo test --locked

# Compares what answers cost with a server that does nothing but answer; installs wrk (Debian 12, root).
bench:
	bench/setup.sh
	cargo bench --locked --bench serve
