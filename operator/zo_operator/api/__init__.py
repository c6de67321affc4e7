"""The `ZOFineTune` API: typed models, CEL rules, and the CRD that is generated from both."""
