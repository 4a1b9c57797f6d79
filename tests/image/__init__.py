"""The image, built and run for real: `make image-test`. It needs root, buildah and debootstrap, no engine."""
