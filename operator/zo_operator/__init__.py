"""The Kubernetes operator of zofinetune: turns `ZOFineTune` resources into runtime pods."""
