-- title: Hospitals of the newest release
-- about: One row a hospital that is registered with Medicare. One without a rating is not among those with so many stars or
-- about: more; one that does not say whether it has emergency services is neither with nor without.
-- about: The newest release is the last whole one: at least half as large as the largest (hospital_releases).
-- alias: get_hospitals
-- tables: hospitals
-- uses: hospital_releases
-- source: Centers for Medicare & Medicaid Services (CMS)
-- parameter: state | state | default all | only this state
-- parameter: hospital_type | text(100) | default all | only this type, in any case
-- parameter: ownership | text(100) | default all | only this owner, in any case
-- parameter: min_rating | integer 0..5 | default 0 | only those with so many stars or more; 0: those without a rating, too
-- parameter: emergency | choice any,yes,no | default any | only those with emergency services, or without
-- parameter: name | text(256) | default % | only names like this, in any case: % stands for any characters, _ for one
-- parameter: ccn | text(6) | default all | only the hospital with this certification number
-- column: ccn | text | | CMS certification number
-- column: vintage | text | | release
-- column: name | text | | name of the hospital
-- column: address | text | | street address
-- column: city | text | | city, as the release writes it
-- column: state | text | | postal code of the state or territory
-- column: zip5 | text | | ZIP code
-- column: county | text | | county or parish
-- column: phone | text | | telephone
-- column: hospital_type | text | | acute care, critical access, psychiatric, children's ...
-- column: ownership | text | | who owns it
-- column: emergency | boolean | | has emergency services
-- column: overall_rating | integer | 1 | stars, 1 to 5
-- column: overall_rating_footnote | text | | footnotes of the rating
-- column: interoperability | boolean | | meets the criteria for interoperable records; 2020 only
-- column: birthing_friendly | boolean | | has the designation; 2025 only
-- column: latitude | double | deg | north is positive; 2020 only
-- column: longitude | double | deg | east is positive; 2020 only
-- order: ccn
SELECT
  ccn, vintage, name, address, city, state, zip5, county, phone, hospital_type, ownership, emergency, overall_rating,
  overall_rating_footnote, interoperability, birthing_friendly, latitude, longitude
FROM hospitals
WHERE vintage = (SELECT max(vintage) FROM hospital_releases WHERE whole)
  AND ($state = 'all' OR state = $state)
  AND ($hospital_type = 'all' OR lower(hospital_type) = lower($hospital_type))
  AND ($ownership = 'all' OR lower(ownership) = lower($ownership))
  AND ($min_rating = 0 OR overall_rating >= $min_rating)
  AND ($emergency = 'any' OR emergency = ($emergency = 'yes'))
  AND name ILIKE $name
  AND ($ccn = 'all' OR ccn = $ccn)
ORDER BY ccn
