"""NIR graphs: reading, conventions, order, the float network, and the lowering to layers."""
