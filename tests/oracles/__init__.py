"""Independent plain-loop NumPy oracles: slow, float64, written without reading pajax itself."""
