"""Training methods: the losses that teach a network from images and events, one file each."""
