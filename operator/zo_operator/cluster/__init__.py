"""The only place with calls to the Kubernetes API and to pods."""
