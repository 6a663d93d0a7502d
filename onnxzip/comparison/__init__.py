"""One model beside what other tools make of it: bytes, loss, what loading costs, latency."""
