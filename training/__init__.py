"""How `segue-1` is made: data, teachers, damage, losses and the loop; docs/models/segue-1.md."""
