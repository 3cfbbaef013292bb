"""Manifests, as kustomize puts them together, and the secrets of the minikube overlay."""
