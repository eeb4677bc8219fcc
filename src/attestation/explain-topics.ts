/** Plain words about every rule: what it looks at, why that matters, and what to do when it fails. */

export interface Topic {
  /** Rules that it is about. */
  readonly pattern: RegExp;
  /** What is wrong, for somebody who reads the word "quote" for the first time. */
  readonly what: string;
  readonly why: string;
  readonly todo: string;
}

/** The first that fits a rule counts. */
export const TOPICS: readonly Topic[] = [
  {
    pattern: /debug|devtools/,
    what: "The environment was started in debug mode.",
    why: "Whoever runs the machine can read and change its memory: a key sent there is a key given to them.",
    todo: "Start it again without debug: SEV-SNP policy bit 19, TDX attribute bit 0, SGX flag DEBUG, GPU DevTools mode.",
  },
  {
    pattern: /report-data|binding|nonce/,
    what: "The evidence answers another question than the one that was asked.",
    why: "It may be genuine and still old, or recorded from another machine and sent again.",
    todo: "Collect it anew with the nonce of this exchange: modelkeep attest collect --nonce HEX.",
  },
  {
    pattern: /^dcap\.(?:tcb\.|tcb-info\.(?!time|evaluation|format|signer|signature))|^tdx\.module/,
    what: "The processor's firmware is in a state that Intel does not call up to date, or of another platform.",
    why: "Known attacks may work on it; the advisories of the verdict say which ones.",
    todo: "Update BIOS and microcode and ask for a new PCK certificate, or accept the state by name in accepted_tcb_statuses.",
  },
  {
    pattern: /evaluation/,
    what: "The collateral is of an older evaluation than the profile wants.",
    why: "Old collateral stays signed: somebody may replay the one under which a platform was still fine.",
    todo: "Fetch new collateral: modelkeep collateral fetch.",
  },
  {
    pattern: /^dcap\..*\.time$|collateral\.age|\.nras\.time/,
    what: "What the vendor signed is not current at the time of the judgement.",
    why: "The vendor may have said otherwise since, for example after an attack became known.",
    todo: "Fetch it again: modelkeep collateral fetch. For evidence of the past judge with --at.",
  },
  {
    pattern: /^dcap\.collateral\.missing|^snp\.vek\.present|chain\.missing|nvidia\.rim\.(?:driver|vbios)/,
    what: "Something that the judgement needs is not at hand.",
    why: "Without the vendor's word about exactly this platform nobody can tell whether the evidence is genuine.",
    todo: "modelkeep collateral fetch EVIDENCE --kind KIND --output DIR, then --collateral DIR.",
  },
  {
    pattern: /^snp\.crl\.(?!revoked)|^dcap\.(?:root|pck)-crl/,
    what: "The revocation list is missing, does not hold, or names a certificate in use.",
    why: "A key that was stolen from a machine stays valid until somebody looks at the list.",
    todo: "Fetch the list anew: modelkeep collateral fetch. If a certificate is on it, do not trust the machine.",
  },
  {
    pattern: /revocation|revoked/,
    what: "A certificate is revoked or on hold, or there is no fresh word about it.",
    why: "The vendor takes back the certificates of devices whose keys are known to be out.",
    todo: "Fetch OCSP answers and lists anew: modelkeep collateral fetch. If it stays revoked, do not trust the device.",
  },
  {
    pattern: /\.rim\.(?:measurements|index-conflict)/,
    what: "The device runs other firmware than the vendor's manifest lists.",
    why: "It may be changed firmware, or the manifest is an older issue of the same version.",
    todo: "Fetch the manifest anew; when the difference stays, install the driver and VBIOS again.",
  },
  {
    pattern: /\.rim\.|\.nras\./,
    what: "The manifest or the token is not signed by NVIDIA, or its signer's certificate has ended.",
    why: "Anybody could have written it.",
    todo: "Fetch it again from NVIDIA; for old firmware allow_expired_rim accepts a signer that has ended since.",
  },
  {
    pattern: /chain|signer|\.names?$|pck\.|vek\.(?:extensions|product)|\.issuer|certificates/,
    what: "The certificates do not lead from the signing key to the vendor's pinned root.",
    why: "Only a key that the vendor certified can speak for its hardware; names alone can be imitated.",
    todo: "Give the vendor's own chain with --chain, for the right product, and check the time of the judgement.",
  },
  {
    pattern: /signature|\.qe|qe-report|pcr\.digest|\.digest$|reserved|padding/,
    what: "The bytes are not those that the key signed.",
    why: "The evidence was changed or damaged on its way, or put together from parts of other evidence.",
    todo: "Collect it again and send the bytes as they are; text editors and line ends break it.",
  },
  {
    pattern: /vek\.(?:tcb|chip)/,
    what: "The certificate is of another chip, or of other firmware than the report names.",
    why: "AMD certifies each chip for each firmware: another one's certificate proves nothing about this report.",
    todo: "Fetch the certificate for the reported versions: modelkeep collateral fetch.",
  },
  {
    pattern: /vek\.provider|chip\./,
    what: "The platform does not say which chip it is, or is not one that the profile names.",
    why: "A cloud provider's key stands in for the chip's: the provider could sign for any machine of its own.",
    todo: "Name it in the profile if you trust it: vlek_csp_ids, allow_masked_chip_id, chip_ids.",
  },
  {
    pattern: /^snp\.tcb|firmware|minimum|allowed$|\.abi$|guest-svn|mitigations/,
    what: "A version is lower than the profile wants, or the profile names none.",
    why: "Old firmware has known holes; without a lowest version a host may roll back to it.",
    todo: "Update the firmware, or name the lowest version that you accept (snp.minimum_tcb, driver_min, vbios_min).",
  },
  {
    pattern: /migrat|service-td/,
    what: "The environment may be moved to another machine while it runs.",
    why: "Its memory then also belongs to whoever moves it.",
    todo: "Start it without migration, or name the agent: migration_agents, mr_service_td.",
  },
  {
    pattern: /sept-ve-disable/,
    what: "The domain lets its host inject faults (SEPT_VE_DISABLE is not set).",
    why: "The host could take pages away at a moment of its choice and watch what happens.",
    todo: "Start it with SEPT_VE_DISABLE; under a paravisor, as on Azure, set require_sept_ve_disable to false.",
  },
  {
    pattern:
      /measurement|mr-|rtmr|\.identity|pcr\.|host-data|config-id|family|image|id-key|author-key|eventlog|secure-boot/,
    what: "Something else was started than what the profile names.",
    why: "The hardware is genuine, but which program runs on it is the other half of the question.",
    todo: "Compare the value of the verdict with that of your build, and add it to the profile if it is yours.",
  },
  {
    pattern: /cc-mode|cc-state/,
    what: "The guest or the device does not say that confidential computing is on.",
    why: "Without it the memory of the GPU is open to the host, whatever the report's signature says.",
    todo: "Switch it on (nvidia-smi conf-compute -q shows it) and collect the evidence again.",
  },
  {
    pattern: /devices|device|arch|topology|composite/,
    what: "A device is missing, there twice, of another kind, or not one that the profile names.",
    why: "One genuine device could stand for several, or a device of another machine for this one's.",
    todo: "Collect the evidence of all devices at once with one nonce, and compare the counts with the profile.",
  },
  {
    pattern: /product|platform|policy|vmpl|xfam|attributes|provision|initialised|mode64|fmspc|ppid|advisories|trailing/,
    what: "The platform or the guest is set up otherwise than the profile wants.",
    why: "Each of these settings opens a way to the guest's memory, or names a machine that nobody asked for.",
    todo: "Change the setting, or name the exception in the profile: spec/appraisal-profile.md lists every field.",
  },
  {
    pattern: /^profile\./,
    what: "The profile does not accept this kind of evidence.",
    why: "Only what a profile has a section for is accepted.",
    todo: "Add the section to the profile; spec/appraisal-profile.md has an example of each.",
  },
  {
    pattern: /format|size|length|version|evidence|kind|tee|algorithm|type|form|quote|hcl|pcs|tcb-info|opaque/,
    what: "The file is not evidence of this kind, or not whole.",
    why: "What cannot be read cannot be believed.",
    todo: "Check --kind, and collect the evidence again.",
  },
];
