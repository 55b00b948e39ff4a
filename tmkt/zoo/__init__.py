"""The zoo: pre-trained backbones that come with the package, each with a card. docs/zoo.md."""
