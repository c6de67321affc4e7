"""How a run is seen from outside: observers of the loop, Prometheus metrics, and the HTTP routes."""
