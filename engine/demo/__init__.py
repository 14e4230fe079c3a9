"""The demonstration: a rendered aerial scene, photographed twice with known geometry, matched and measured."""
