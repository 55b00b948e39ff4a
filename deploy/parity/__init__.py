"""Parity: compare engines spike by spike, find the first divergence and its likely cause."""
