"""The simulated camera on a GPU: images become recordings where the network learns from them."""
