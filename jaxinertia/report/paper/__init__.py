"""The paper, claim by claim: each module measures one part of it and draws its figure."""
