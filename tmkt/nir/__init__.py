"""NIR graphs: files, conventions, order, normalisation, the float network, lowering to layers."""
